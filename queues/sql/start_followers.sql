-- Executions that waited for the one before them to stop, which it has, go to their place in line. `due_at` stays, see
-- `execution_early`. Locks: rows of keys, skipping locked ones → execution rows.
with free as (
    select k.execution_id
    from queues_deduplication k
    left join queues_execution p on p.id = k.after
    where k.after is not null and (p.id is null or p.status in ('completed', 'failed', 'cancelled'))
    order by k.execution_id
    limit %(most)s::int
    for update of k skip locked
),
settled as (
    update queues_deduplication k set after = null from free f where k.execution_id = f.execution_id
)
update queues_execution e
set status = case when e.due_at > now() then 'scheduled' else 'queued' end, due_at = coalesce(e.due_at, now())
from free f
where e.id = f.execution_id and case when e.status = 'waiting' then true end
returning e.queue_id, e.workflow
