-- Locks the row of whoever has the deduplication key of an execution, and does nothing else: who that is by then, and
-- how it stands, is looked at in the next statement (`key_of`). Nobody else decides about the key until the end of this
-- transaction. Not returned: the execution has no key, nobody has it, or it changed hands just now.
-- Locks: the row of the key's holder.
select h.execution_id
from queues_deduplication k
join queues_deduplication h on (h.queue_id, h.workflow, h.key) = (k.queue_id, k.workflow, k.key) and h.holds
where k.execution_id = %(id)s::uuid
for update of h
