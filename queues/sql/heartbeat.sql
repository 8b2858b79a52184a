-- Renews leases, many at once. A worker that is not returned has lost its lease or left. The tokens
-- returned are of claims whose reply the worker should have had by now and never got: they must not keep their slots.
-- Locks: worker rows, in the order of their id.
with given as (
    select * from unnest(%(ids)s::uuid[], %(received)s::bigint[], %(received_beside)s::bigint[])
        as g (id, received, received_beside)
),
locked as (
    select w.id, g.received, g.received_beside
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
returning w.id, w.state = 'draining', array(
    select w.claim_token[lane.n]
    from (values (1, l.received), (2, l.received_beside)) as lane (n, received)
    where w.claim_seq[lane.n] > lane.received
        and w.claim_at[lane.n] < clock_timestamp() - make_interval(secs => %(lease)s::float8)
)
