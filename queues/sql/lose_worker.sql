-- One worker whose lease is over becomes `lost`; one whose lease is renewed meanwhile does not.
-- Locks: the worker's row.
update queues_worker w set state = 'lost', left_at = clock_timestamp()
where w.id = %(worker)s::uuid and w.state in ('alive', 'draining') and w.lease_until < clock_timestamp()
