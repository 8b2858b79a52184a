-- Where a workflow's executions go when nobody says otherwise, and how often they are tried. Locks: none.
select q.name, w.max_attempts
from workflows_workflow w
join queues_queue q on q.id = w.queue_id
where w.id = %(id)s::text
