-- Executions that wait, a bounded number at a time, from a place in the index on: for the duty that looks for what
-- nobody woke. Locks: none.
select e.queue_id, e.id
from queues_execution e
where e.status = 'waiting' and (e.queue_id, e.id) > (%(queue)s::bigint, %(id)s::uuid)
order by e.queue_id, e.id
limit %(most)s::int
