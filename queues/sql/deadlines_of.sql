-- When these executions have to be finished, as far as they have a timeout. Locks: none.
select d.execution_id, d.at
from queues_deadline d
where d.execution_id = any(%(ids)s::uuid[]) and d.kind = 'execution' and d.at is not null
