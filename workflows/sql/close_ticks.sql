-- Ticks whose executions are final are not open any more. Locks: rows of ticks, of schedules that the caller locked.
update workflows_tick t set open = false
from queues_execution e
where t.schedule_id = any(%(schedules)s::uuid[]) and t.open and e.id = t.execution_id
    and e.finished_at is not null
