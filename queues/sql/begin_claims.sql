-- Begins the claims of these workers: checks that each lease is alive, renews it, and notes the claim's
-- sequence number and token, so that a repeated exchange finds what was handed out. Returns what the row
-- said before. A worker that is not returned is gone, draining, or repeats itself.
-- Locks: worker rows, in the order of their id.
with given as (
    select * from unnest(%(ids)s::uuid[], %(seqs)s::bigint[], %(tokens)s::uuid[], %(lanes)s::int[]) as g (id, seq, token, lane)
),
locked as (
    select w.id, w.claim_seq[g.lane] as claim_seq, w.claim_token[g.lane] as claim_token, g.seq, g.token, g.lane
    from queues_worker w
    join given g on g.id = w.id
    where w.state = 'alive' and w.lease_until > clock_timestamp()
        and (w.claim_seq[g.lane] < g.seq or w.claim_token[g.lane] = g.token)
    order by w.id
    for no key update of w
)
update queues_worker w
set claim_seq[l.lane] = l.seq, claim_token[l.lane] = l.token, claim_at[l.lane] = clock_timestamp(),
    heartbeat_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s::float8)
from locked l
where w.id = l.id
returning w.id, l.claim_seq, l.claim_token
