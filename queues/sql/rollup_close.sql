-- Writes the rows of 10 s for a stretch of time: what finished in it, how long that waited and ran, and what waits
-- and runs now, for the ticks from `looks_from` on. The numbers of figures are those of `queues/rollup.py`.
-- Reads one stretch of the index of finished rows per queue; waiting ones are counted up to 100,000 per queue.
-- Locks nothing; the caller holds the advisory lock of the roll-up.
with ended as (
    select q.id as queue_id, e.*
    from queues_queue q
    cross join lateral (
        select floor(date_part('epoch', x.finished_at) / 10)::bigint * 10 as start,
            case x.status when 'completed' then 0 when 'failed' then 1 else 2 end as outcome,
            -- The step of each time. `least` and `greatest` pass over nulls, so those are kept away from them.
            case when x.attempt = 1 and x.claimed_at is not null then least(255, 1 + floor(
                ln(greatest(date_part('epoch', x.claimed_at - x.enqueued_at) * 1000, 0.95)) / ln(1.1::float8)
            )) end as wait_step,
            case when x.released_at is not null and x.claimed_at is not null then least(255, 1 + floor(
                ln(greatest(date_part('epoch', x.released_at - x.claimed_at) * 1000, 0.95)) / ln(1.1::float8)
            )) end as run_step
        from queues_execution x
        where x.queue_id = q.id and x.finished_at is not null
            and x.finished_at >= to_timestamp(%(since)s::bigint) and x.finished_at < to_timestamp(%(until)s::bigint)
    ) as e
),
held as (
    select queue_id, count(*) as n from queues_execution where status in ('running', 'cancelling') group by queue_id
),
counted as (
    select queue_id, start, coalesce(outcome, 256 + wait_step, 512 + run_step) as figure, count(*) as n
    from ended
    group by grouping sets ((queue_id, start, outcome), (queue_id, start, wait_step), (queue_id, start, run_step))
),
figures as (
    select * from counted where figure is not null
    union all
    select q.id, s.start, f.figure, f.n
    from queues_queue q
    left join held h on h.queue_id = q.id
    cross join lateral (
        select count(*) as n from (
            select from queues_execution x where x.status = 'queued' and x.queue_id = q.id limit 100000
        ) as capped
    ) as line
    cross join lateral (values (3, line.n), (4, h.n)) as f (figure, n)
    cross join generate_series(%(looks_from)s::bigint, %(until)s::bigint - 10, 10) as s (start)
    where f.n > 0
),
cells as (
    select start, queue_id / 32 as shard, (queue_id %% 32 * 1024 + figure)::smallint as cell, n::int,
        n = 1 and figure >= 256 as once
    from figures
)
insert into queues_rollup (seconds, start, shard, cells, counts, once)
select 10, start, shard, coalesce(array_agg(cell) filter (where not once), '{}'),
    coalesce(array_agg(n) filter (where not once), '{}'), coalesce(array_agg(cell) filter (where once), '{}')
from cells
group by start, shard
on conflict do nothing
