-- Adds rows of history up to coarser ones. The highest of what waited and ran (figures 5 and 6) begins with the looks
-- (3 and 4) of the rows of 10 s. Locks nothing; the caller holds the advisory lock of the roll-up.
with cells as (
    select r.start / %(coarser)s::int * %(coarser)s::int as start, r.shard, c.cell, c.n
    from queues_rollup r
    cross join lateral (
        select * from unnest(r.cells, r.counts)
        union all
        select cell, 1 from unnest(r.once) as o (cell)
    ) as c (cell, n)
    where r.seconds = %(finer)s::int and r.start >= %(since)s::bigint and r.start < %(until)s::bigint
),
figures as (
    select start, shard, cell, case when cell %% 1024 in (5, 6) then max(n) else sum(n) end as n
    from cells
    group by start, shard, cell
    union all
    select start, shard, cell + 2, max(n)
    from cells
    where %(finer)s::int = 10 and cell %% 1024 in (3, 4)
    group by start, shard, cell
)
insert into queues_rollup (seconds, start, shard, cells, counts, once)
select %(coarser)s::int, start, shard, coalesce(array_agg(cell::smallint) filter (where not once), '{}'),
    coalesce(array_agg(n) filter (where not once), '{}'),
    coalesce(array_agg(cell::smallint) filter (where once), '{}')
from (
    select start, shard, cell, least(n, 2147483647)::int as n, n = 1 and cell %% 1024 >= 256 as once from figures
) as f
group by start, shard
on conflict do nothing
