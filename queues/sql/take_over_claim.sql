-- A repeated exchange: what its first try handed out is handed out again, under the same token, and has a whole lease
-- to be heard of; one whose first try handed out nothing goes on under a new token, and the old one is void.
-- Locks: the worker's row.
update queues_worker w
set claim_token[%(lane)s::int] = %(token)s::uuid, claim_at[%(lane)s::int] = clock_timestamp(), heartbeat_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s::float8)
where w.id = %(worker)s::uuid and w.claim_seq[%(lane)s::int] = %(seq)s::bigint
    and w.claim_token[%(lane)s::int] = %(old)s::uuid
    and w.state = 'alive' and w.lease_until > clock_timestamp()
returning w.id
