-- What code has declared so far: the schedules of these workflows; and those that this worker declared for others
-- that nobody serves any more (gone). Locks: none.
select
    s.workflow,
    array[
        s.cron, s.timezone, s.every::text, (extract(epoch from s.at) * 1000000)::bigint::text, s.payload::text, s.catch_up,
        s.catch_up_most::text, s.overlap, s.declared_by, s.place
    ],
    s.workflow <> all(%(workflows)s::text[]) as gone
from workflows_schedule s
where s.declared and (
    s.workflow = any(%(workflows)s::text[])
    or s.declared_by = %(worker)s::text and not exists (
        select from queues_registration r
        join queues_worker w on w.id = r.worker_id
        where r.workflow = s.workflow and w.state = 'alive' and w.lease_until > now()
    )
)
