-- Queues a failed or cancelled execution again: a new place, one more try. Returns the new status, and the wake-up
-- to send. Locks: the execution's row.
with ended as (
    select e.id, e.queue_id from queues_execution e
    where e.id = %(id)s::uuid and e.status in ('failed', 'cancelled')
    for no key update
)
update queues_execution e
set status = 'queued', place = clock_timestamp() - make_interval(secs => e.priority), finished_at = null,
    due_at = null, cancel_by = '', result = null, losses = 0,
    max_attempts = greatest(e.max_attempts, e.attempt + 1)
from ended
where e.id = ended.id
returning e.status, 'limits:' || ended.queue_id
