-- Limits and pauses of these queues. Locks: none.
select q.name, q.declared_limit, q.effective_limit, q.paused
from queues_queue q
where q.id = any(%(queues)s::bigint[])
order by q.name
