-- Queues a failed or cancelled execution again: a new place, one more try, its deadlines set anew. Returns the new
-- status, and the wake-up to send. `due_at` is for `execution_early`: it may never have started, and its place lies under
-- a floor when it has a head start. Locks: the execution's row, then its deadlines.
with ended as (
    select e.id, e.queue_id from queues_execution e
    where e.id = %(id)s::uuid and e.status in ('failed', 'cancelled')
    for no key update
),
deadlines as (
    update queues_deadline d set at = clock_timestamp() + make_interval(secs => d.seconds)
    from ended
    where d.execution_id = ended.id
)
update queues_execution e
set status = 'queued', place = clock_timestamp() - make_interval(secs => e.priority), finished_at = null,
    due_at = e.enqueued_at, cancel_by = '', result = null, losses = 0,
    max_attempts = greatest(e.max_attempts, e.attempt + 1)
from ended
where e.id = ended.id
returning e.status, 'limits:' || ended.queue_id
