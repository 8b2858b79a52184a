-- One execution as the REST API shows it. Locks: none.
select
    e.id, e.workflow, q.name, e.status, coalesce(e.payload::text, 'null'), coalesce(e.result::text, 'null'),
    coalesce(e.error::text, 'null'), e.attempt - coalesce(e.resumes, 0),
    e.max_attempts - coalesce(e.resumes, 0), e.priority, e.enqueued_at, e.due_at,
    e.claimed_at, e.finished_at, e.worker_id, e.slot, e.parent_id, e.root_id
from queues_execution e
join queues_queue q on q.id = e.queue_id
where e.id = %(id)s::uuid
