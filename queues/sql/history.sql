-- Figures of one queue from its history, per point: their sum, their highest, and the highest among the rows of 10 s.
-- Three lengths of rows, each for a part of the time: the coarse ones as far as they reach, finer ones for the rest.
-- Locks nothing.
select ((r.start - %(since)s::bigint) / %(step)s::bigint)::int as point, c.cell - %(first)s::int as figure,
    sum(c.n)::bigint, max(c.n)::bigint, coalesce(max(c.n) filter (where r.seconds = 10), 0)::bigint
from unnest(%(seconds)s::int[], %(froms)s::bigint[], %(untils)s::bigint[]) as part (seconds, since, until)
join queues_rollup r on r.seconds = part.seconds and r.start >= part.since and r.start < part.until
    and r.shard = %(shard)s::int
cross join lateral (
    select * from unnest(r.cells, r.counts)
    union all
    select cell, 1 from unnest(r.once) as o (cell)
) as c (cell, n)
where c.cell >= %(first)s::int and c.cell < %(first)s::int + 1024
group by 1, 2
