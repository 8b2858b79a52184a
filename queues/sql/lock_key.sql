-- The deduplication key of an execution: the key, and who has it unless that is final. Nobody else decides about the
-- key until the end of this transaction. Locks: the row of the key's holder.
select k.key, h.execution_id, e.status
from queues_deduplication k
join queues_deduplication h on (h.queue_id, h.workflow, h.key) = (k.queue_id, k.workflow, k.key) and h.holds
left join queues_execution e on e.id = h.execution_id and e.status not in ('completed', 'failed', 'cancelled')
where k.execution_id = %(id)s::uuid
for update of h
