-- Renews leases, many at once. A worker that is not returned has lost its lease or left. `unheard` is the token
-- of a claim whose reply the worker should have had by now and never got: it must not keep its slots alive.
-- Locks: worker rows, in the order of their id.
with given as (
    select * from unnest(%(ids)s::uuid[], %(received)s::bigint[]) as g (id, received)
),
locked as (
    select w.id, g.received
    from queues_worker w
    join given g on g.id = w.id
    where w.state in ('alive', 'draining') and w.lease_until > clock_timestamp()
    order by w.id
    for no key update of w
)
update queues_worker w
set heartbeat_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s::float8)
from locked l
where w.id = l.id
returning w.id, w.state = 'draining', case
    when w.claim_seq > l.received and w.claim_at < clock_timestamp() - make_interval(secs => %(lease)s::float8)
    then w.claim_token end
