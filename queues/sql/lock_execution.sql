-- Locks executions, and says how they are: what an act decides by. Locks: the executions' rows, by id.
select e.id, e.status, e.attempt, e.queue_id, e.priority, e.workflow
from queues_execution e
where e.id = any(%(ids)s::uuid[])
order by e.id
for no key update
