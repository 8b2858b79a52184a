-- The steps of one execution in the order in which they ended. Locks: none.
select
    s.key, coalesce(s.result::text, 'null'), coalesce(s.error::text, 'null'), s.started_at, s.ended_at,
    s.attempt, s.child_id
from workflows_step s
where s.execution_id = %(id)s::uuid
order by s.ended_at, s.id
