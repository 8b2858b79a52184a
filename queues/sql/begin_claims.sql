-- Begins the claims of these workers: checks that each lease is alive, renews it, and notes the claim's
-- sequence number and token, so that a repeated exchange finds what was handed out. Returns what the row
-- said before. A worker that is not returned is gone, draining, or repeats itself. Who has begun is kept in a setting of
-- the transaction, where `claim` finds it.
-- The row changes with every claim, and while an old transaction keeps vacuum away, all that it was stays. So every
-- 128th claim gives it a new generation, and is looked for from the one on that it had when it was last seen (0: all),
-- whatever the planner makes of that: by `worker_newest`, the only index over the id as text, and the state is hidden,
-- lest it takes another one. Then the row is found by its address. One that was changed while its lock was waited for is
-- not found, and not returned either: it is begun again (`Desk._repeat`).
-- Locks: worker rows, in the order of their id.
with given as (
    select * from unnest(
        %(ids)s::uuid[], %(seqs)s::bigint[], %(tokens)s::uuid[], %(lanes)s::int[], %(generations)s::int[]
    ) as g (id, seq, token, lane, generation)
    order by id
    offset 0
),
locked as (
    select w.*, g.seq, g.token, g.lane
    from given g
    cross join lateral (
        select w.ctid as at, w.id, w.claim_seq[g.lane] as claim_seq, w.claim_token[g.lane] as claim_token
        from queues_worker w
        where (w.id::text) collate "C" = g.id::text and w.generation >= g.generation
            and case when w.state = 'alive' then true end and w.lease_until > clock_timestamp()
            and (w.claim_seq[g.lane] < g.seq or w.claim_token[g.lane] = g.token)
        order by w.generation desc
        limit 1
        for no key update of w
    ) as w
)
update queues_worker w
set claim_seq[l.lane] = l.seq, claim_token[l.lane] = l.token, claim_at[l.lane] = clock_timestamp(),
    heartbeat_at = clock_timestamp(),
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s::float8),
    generation = w.generation + (mod(l.seq, 128) = 0 and l.claim_seq < l.seq)::int
from locked l
where w.ctid = l.at
returning w.id, l.claim_seq, l.claim_token, w.generation,
    set_config('polos.begun', concat_ws(',', nullif(current_setting('polos.begun', true), ''), w.id), true)
