-- A person, or a program, answers an execution that waits for it: first come, first served. Locks: the wait's row.
update queues_wait w
set answer = %(data)s::json, answered_by = %(by)s::text, over_at = clock_timestamp()
from queues_execution e
where w.execution_id = %(id)s::uuid and w.key = %(key)s::text and w.kind = 'resume' and w.over_at is null
    and e.id = w.execution_id and e.finished_at is null and e.status <> 'cancelling'
returning e.queue_id, e.workflow
