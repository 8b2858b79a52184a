-- The deduplication key of an execution, who has it, and the status of that one unless it is final; then an older one
-- that was to stop before that one starts and has not stopped yet, and its status. Locks: none.
select k.key, h.execution_id, e.status, p.id, p.status
from queues_deduplication k
left join queues_deduplication h on (h.queue_id, h.workflow, h.key) = (k.queue_id, k.workflow, k.key) and h.holds
left join queues_execution e on e.id = h.execution_id and e.status not in ('completed', 'failed', 'cancelled')
left join queues_execution p on p.id = h.after and p.status not in ('completed', 'failed', 'cancelled')
where k.execution_id = %(id)s::uuid
