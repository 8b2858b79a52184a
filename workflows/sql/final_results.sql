-- Results of those of these executions that are final, in the order given; left out where together they grow over
-- `bytes`, but for the first. Locks: none.
with found as (
    select g.n, e.id, q.name, e.status, coalesce(e.result::text, 'null') as result,
        coalesce(e.error::text, 'null') as error
    from unnest(%(ids)s::uuid[]) with ordinality as g (id, n)
    join queues_execution e on e.id = g.id
    join queues_queue q on q.id = e.queue_id
    where e.finished_at is not null
),
sized as (
    select f.*, row_number() over (order by f.n) = 1
        or sum(length(f.result) + length(f.error)) over (order by f.n) <= %(bytes)s::bigint as fits
    from found f
)
select s.id, s.name, s.status, case when s.fits then s.result end, case when s.fits then s.error end
from sized s
order by s.n
