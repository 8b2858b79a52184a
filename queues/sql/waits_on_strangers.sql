-- Executions that wait for one of these without being its parent. Locks: none.
select distinct w.execution_id
from queues_wait w
where w.over_at is null and w.strangers and w.executions && %(ids)s::uuid[]
