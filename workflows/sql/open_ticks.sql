-- What still waits or runs of these schedules, the oldest first. Locks: none.
select t.schedule_id, t.execution_id
from workflows_tick t
where t.schedule_id = any(%(schedules)s::uuid[]) and t.open
order by t.execution_id
