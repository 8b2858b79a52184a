-- Which of these executions wait for one that waits for them, directly or through others: those may never go on, which
-- `wait_graph` then tells. Walks from each to whoever waits for it: its parent, and strangers. What each waits for is
-- looked up in a subquery: a join compared every row with every other. Locks: none.
with recursive up as (
    select e.id as start, e.id, e.parent_id
    from queues_execution e
    where e.id = any(%(ids)s::uuid[]) and case when e.status = 'waiting' then true end
    union
    select u.start, p.id, p.parent_id
    from up u
    cross join lateral (
        select w.execution_id from queues_wait w
        where w.execution_id = u.parent_id and w.over_at is null and u.id = any(w.executions)
        union all
        select w.execution_id from queues_wait w
        where w.over_at is null and w.strangers and w.executions @> array[u.id]
    ) as w
    join queues_execution p on p.id = w.execution_id and case when p.status = 'waiting' then true end
)
select distinct u.start
from up u
where (
    select true from queues_wait w
    where w.execution_id = u.start and w.over_at is null and u.id = any(w.executions)
    limit 1
)
