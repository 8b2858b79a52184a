-- Locks one execution and says how it is: what an act decides by. Locks: the execution's row.
select e.status, e.attempt, e.queue_id, e.priority, e.workflow
from queues_execution e
where e.id = %(id)s::uuid
for no key update
