-- Queues by name, with their declared limit. Locks: none.
select q.id, q.name, q.declared_limit
from queues_queue q
where q.name = any(%(names)s::text[])
