-- What a claim handed out and is still held: the answer to a repeated exchange. Locks: none.
select e.id, e.queue_id, e.workflow, e.payload::text, e.attempt, e.max_attempts, e.slot, e.enqueued_at,
    e.parent_id, e.root_id
from queues_execution e
where e.worker_id = %(worker)s::uuid and e.token = %(token)s::uuid and e.status in ('running', 'cancelling')
order by e.place, e.id
