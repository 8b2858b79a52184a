-- Where a workflow's executions go when nobody says otherwise, and with which options. Locks: none.
select q.name, w.max_attempts, w.priority, w.queue_timeout, w.execution_timeout
from workflows_workflow w
join queues_queue q on q.id = w.queue_id
where w.id = %(id)s::text
