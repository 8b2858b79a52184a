-- Gives an execution that waits for its start another head start: its place moves by the difference. Returns the
-- status. Nobody is woken: had there been room, it would have started. Locks: the execution's row.
update queues_execution e
set place = e.place + make_interval(secs => e.priority - %(priority)s::int), priority = %(priority)s::int
where e.id = %(id)s::uuid and e.status in ('scheduled', 'queued')
returning e.status, ''
