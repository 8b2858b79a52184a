-- A worker leaves: its lease ends now. Locks: the worker's row.
update queues_worker w
set state = 'left', left_at = clock_timestamp(), lease_until = clock_timestamp()
where w.id = %(worker)s::uuid and w.state in ('alive', 'draining')
returning w.id
