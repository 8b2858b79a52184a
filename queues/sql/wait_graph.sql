-- An execution and all that wait for it, directly or through others, with what each of them waits for: whether a wait
-- is for executions and without end, and which of those are among them. Locks: none.
with recursive up as (
    select e.id, e.parent_id, e.workflow, e.token
    from queues_execution e
    where e.id = %(id)s::uuid and case when e.status = 'waiting' then true end
    union
    select p.id, p.parent_id, p.workflow, p.token
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
select u.id, u.workflow, w.kind = 'executions' and w.until is null as endless,
    array(select a.id from unnest(w.executions) as a (id) where a.id in (select id from up))
from up u
cross join lateral (
    select * from queues_wait x where x.execution_id = u.id and x.token = u.token and x.over_at is null offset 0
) as w
