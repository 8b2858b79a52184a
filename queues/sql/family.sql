-- The family of one execution: its parents up to the root (n < 0), itself (0), and what it led to, five generations
-- deep, in the order of a tree, at most `most` of them. Looked up one by one, so that it takes the index whatever the
-- planner believes. Locks: none.
with recursive up as (
    select e.id, e.parent_id, 0 as n from queues_execution e where e.id = %(id)s::uuid
    union all
    select p.id, p.parent_id, u.n - 1
    from up u
    cross join lateral (select e.id, e.parent_id from queues_execution e where e.id = u.parent_id limit 1) as p
    where u.n > -50
),
down as (
    select e.id, 0 as n, array[]::text[] as path from queues_execution e where e.id = %(id)s::uuid
    union all
    select c.id, d.n + 1, d.path || (to_char(c.enqueued_at at time zone 'UTC', 'YYYYMMDDHH24MISSUS') || c.id::text)
    from down d
    cross join lateral (
        select e.id, e.enqueued_at from queues_execution e where e.parent_id = d.id limit %(most)s::int + 1
    ) as c
    where d.n < 5
),
few as (
    select d.id, d.n, d.path from down d limit %(most)s::int + 1
)
select u.id, u.n, null::text[] as path from up u where u.n < 0
union all
select f.id, f.n, f.path from few f
order by path nulls first, n
