-- What code has declared so far about the schedules of these workflows, as texts. Locks: none.
select
    s.workflow,
    array[
        s.cron, s.timezone, s.every::text, (extract(epoch from s.at) * 1000000)::bigint::text, s.payload, s.catch_up,
        s.catch_up_most::text, s.overlap, s.declared_by, s.place
    ]
from workflows_schedule s
where s.declared and s.workflow = any(%(workflows)s::text[])
