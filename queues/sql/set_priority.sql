-- Gives an execution that waits for its start another head start: its place moves by the difference. Returns the
-- status, and the wake-up to send: a claim that passes over the locked row takes the line for empty. `due_at` is for
-- `execution_early`: the new place may lie under a floor. Locks: the execution's row.
update queues_execution e
set place = e.place + make_interval(secs => e.priority - %(priority)s::int), priority = %(priority)s::int,
    due_at = coalesce(e.due_at, e.enqueued_at)
where e.id = %(id)s::uuid and e.status in ('scheduled', 'queued')
returning e.status, 'limits:' || e.queue_id
