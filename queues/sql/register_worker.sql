-- Notes a worker and gives it a lease; a repeated registration of the same process is a reconnect, unless its
-- lease is over: then it is not returned, and has to come back under a new id.
-- Locks: the worker's row.
insert into queues_worker as w (
    id, name, host, pid, sdk_version, max_concurrent, state, key_name, registered_at, heartbeat_at, lease_until,
    claim_seq, claim_token, claim_at
)
values (
    %(id)s::uuid, %(name)s::text, %(host)s::text, %(pid)s::int, %(sdk_version)s::text, %(max_concurrent)s::int,
    'alive', %(key_name)s::text, clock_timestamp(), clock_timestamp(),
    clock_timestamp() + make_interval(secs => %(lease)s::float8),
    '{0,0}', '{null,null}', '{null,null}'
)
on conflict (id) do update
set heartbeat_at = excluded.heartbeat_at, lease_until = excluded.lease_until, name = excluded.name,
    max_concurrent = excluded.max_concurrent, key_name = excluded.key_name
where w.state in ('alive', 'draining') and w.lease_until > clock_timestamp()
returning w.id
