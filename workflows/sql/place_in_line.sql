-- How many wait before an execution on its queue, counted up to `most` per workflow and for at most 20 workflows,
-- so that the cost has an end; empty when that is not the whole truth. Walks the index of what is ready: the
-- workflows with a step from each to the next, then each one's part of the line. The second column tells whether a
-- living worker serves its workflow there. Locks: none.
with recursive mine as (
    select e.queue_id, e.workflow, e.place, e.id from queues_execution e where e.id = %(id)s::uuid and e.status = 'queued'
),
workflows as (
    select '' as workflow, 0 as n from mine
    union all
    select (
        select e.workflow::text from queues_execution e
        where e.queue_id = m.queue_id and e.status = 'queued' and e.workflow > w.workflow
        order by e.workflow limit 1
    ), w.n + 1
    from workflows w cross join mine m
    where w.workflow is not null and w.n <= 20
),
counted as materialized (
    select (
        select count(*) from (
            select from queues_execution e
            where e.queue_id = m.queue_id and e.status = 'queued' and e.workflow = w.workflow
                and (e.place, e.id) < (m.place, m.id)
            limit %(most)s::int
        ) as before
    ) as before
    from workflows w cross join mine m
    where w.workflow <> ''
)
select case when count(*) <= 20 and max(before) < %(most)s::int then sum(before) end, (
    select exists (
        select from queues_registration r
        join queues_worker w on w.id = r.worker_id
        where r.queue_id = m.queue_id and r.workflow = m.workflow
            and w.state = 'alive' and w.lease_until > now()
    ) from mine m
)
from counted
