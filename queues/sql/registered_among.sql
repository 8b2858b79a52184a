-- Which of these (queue, workflow) pairs these workers are registered for, with the names of the queues. Locks: none.
select r.worker_id, r.queue_id, r.workflow, q.name
from unnest(%(queues)s::bigint[], %(workflows)s::text[]) as g (queue_id, workflow)
join queues_registration r
    on r.queue_id = g.queue_id and r.workflow = g.workflow and r.worker_id = any(%(workers)s::uuid[])
join queues_queue q on q.id = r.queue_id
