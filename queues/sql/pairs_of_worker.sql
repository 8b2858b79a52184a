-- What a worker serves, with the names of the queues. Locks: none.
select r.queue_id, q.name, r.workflow
from queues_registration r
join queues_queue q on q.id = r.queue_id
where r.worker_id = %(worker)s::uuid
