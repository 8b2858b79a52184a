-- Second statement of a claim: admits executions of the locked queues to workers, under the queues' limits.
-- tried:  the queues, and which of the workflows given are served on each: from first to last.
-- taker:  the workers that claim, all serving these; one that has not begun (`begin_claims`) takes nothing. For one
--         alone, as most are, this and `seats` are simpler (`engine/claims.py`).
-- room:   limit − what is running or cancelling (`taken`), read under the lock. A paused queue has none. This is the
--         one predicate that decides; gauges and «why is it waiting» use the same columns.
-- free:   the lowest free slots; empty where nothing is taken, and each is free. The count decides how many start, the
--         numbers only who sits where.
-- picked: per (queue, workflow) the first rows of the ready index (while dead rows pile up, from its floor on:
--         `engine/bloat.py`), and of those the queue's first ones, in its own order.
-- chosen: dealt in turn over the queues, in the order given, up to what the workers can take, and in turn to the
--         workers (`seats`, where there are several).
-- An earlier claim of a picked row is copied to the holdings. Returns the claims, with the taker's number and how
-- many were found on their queue, then a row per queue (null id) with its room, how many were found, and 1 where
-- executions may have deadlines. Locks: picked execution rows, skipping locked ones; the queues are locked already. Until the end of the
-- transaction nobody else can move a locked row, so it is found by its address (`ctid`); one that
-- was changed between the snapshot and the lock is found by the next claim, and counts as found here. Slots, seats and workflows
-- are arrays and not joins: a join here compares every row with every other.
with tried as (
    select * from unnest(%(queues)s::bigint[], %(firsts)s::int[], %(lasts)s::int[]) as t (queue_id, first, last)
),
ours as materialized (
    select current_setting('polos.locked')::bigint[] as locked, current_setting('polos.shared')::bigint[] as shared
), -- of ours
taker as materialized ( -- takers
    select t.n, t.capacity, sum(t.capacity) over () as total
    from unnest(%(workers)s::uuid[], %(capacities)s::int[]) with ordinality as t (worker, capacity, n)
    where t.worker = any(string_to_array(current_setting('polos.begun', true), ',')::uuid[])
), -- of takers
room as materialized (
    select h.*, case when cardinality(h.taken) = 0 then '{}'::int[] when h.taken is not null and h.room > 0 then array(
        select generate_series(1, cardinality(h.taken) + h.room)
        except
        select unnest(h.taken)
        order by 1
    ) end as free
    from (
        select q.id as queue_id, d.first, d.last, q.slot_generation, q.timed, h.taken, case
            when q.paused then 0
            when q.effective_limit is null then t.total
            else least(greatest(q.effective_limit - cardinality(h.taken), 0), t.total) end::int as room
        from (select total from taker limit 1) as t
        cross join ours o
        cross join tried d
        join queues_queue q on q.id = d.queue_id
        cross join lateral (
            select case when q.effective_limit is not null then array(
                select x.slot from queues_execution x
                where x.queue_id = q.id and x.slot_generation = q.slot_generation
                    and x.status in ('running', 'cancelling')
            ) end as taken
            offset 0
        ) as h
        where q.id = any(o.locked) or q.effective_limit is null and q.id = any(o.shared)
        offset 0
    ) as h
),
picked as materialized (
    select r.queue_id, r.first, r.slot_generation, r.free, r.room, r.timed, e.ats, e.agains
    from room r
    cross join lateral (
        select array_agg(line.at) as ats, array_agg(line.again) as agains
        from (
            select e.*
            from unnest((%(workflows)s::text[])[r.first:r.last]) as p (workflow)
            cross join lateral ( -- pick
                select x.ctid as at, x.place, x.id, x.released_at is not null as again
                from queues_execution x
                where x.queue_id = r.queue_id and x.workflow = p.workflow and x.status = 'queued'
                order by x.place, x.id
                limit r.room
                for no key update skip locked
            ) as e -- picked
            order by e.place, e.id -- of all lines
            limit r.room
        ) as line
    ) as e
),
chosen as materialized (
    select dealt.*, row_number() over () as k
    from (
        select p.queue_id, p.slot_generation, p.free, e.at, e.again, e.n, cardinality(p.ats) as found
        from picked p
        cross join lateral unnest(p.ats, p.agains) with ordinality as e (at, again, n)
        order by e.n, p.first
        limit (select total from taker limit 1)
    ) as dealt
),
seats as materialized (
    select t.foremost, case when t.several then array(
        select t.n
        from taker t
        cross join lateral generate_series(1, least(t.capacity, (select sum(room) from room))) as s (turn)
        order by s.turn, t.n
    ) end as of_row
    from (select min(n) as foremost, count(*) > 1 as several from taker) as t
), -- of seats
earlier as (
    insert into queues_holding (
        execution_id, queue_id, attempt, worker_id, slot, claimed_at, released_at, outcome, error
    )
    select x.id, x.queue_id, x.attempt, x.worker_id, x.slot, x.claimed_at, x.released_at, x.outcome, x.error
    from chosen c
    join queues_execution x on x.ctid = c.at
    where c.again and x.claimed_at is not null
),
claimed as (
    update queues_execution e
    set status = 'running', attempt = e.attempt + 1, slot_generation = c.slot_generation,
        slot = case cardinality(c.free) when 0 then c.n else c.free[c.n] end,
        claimed_at = clock_timestamp(), worker_id = (%(workers)s::uuid[])[c.taker],
        token = (%(tokens)s::uuid[])[c.taker], released_at = null, outcome = '', error = null
    from (select c.*, coalesce(s.of_row[c.k], s.foremost) as taker from seats s cross join chosen c) as c -- seated
    where e.ctid = c.at
    returning e.id, e.queue_id, e.workflow, e.payload::text, e.attempt, e.max_attempts, e.slot, e.enqueued_at,
        e.parent_id, e.root_id, c.k, c.taker, c.found
)
select c.*, null::int as room from claimed c
union all
select null, p.queue_id, null, null, p.timed::int, null, null, null, null, null, null, null,
    cardinality(p.ats), p.room
from picked p
