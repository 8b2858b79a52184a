-- Takes over what a worker declared about its workflows; a reconnect that declares the same writes nothing.
-- Locks: the rows of the workflows that change, in the order of their id.
insert into workflows_workflow as w (
    id, queue_id, description, max_attempts, priority, queue_timeout, execution_timeout, registered_at
)
select g.id, q.id, g.description, g.max_attempts, g.priority, g.queue_timeout, g.execution_timeout, now()
from unnest(
    %(ids)s::text[], %(queues)s::text[], %(descriptions)s::text[], %(max_attempts)s::int[], %(priorities)s::int[],
    %(queue_timeouts)s::float8[], %(execution_timeouts)s::float8[]
) as g (id, queue, description, max_attempts, priority, queue_timeout, execution_timeout)
join queues_queue q on q.name = g.queue
order by g.id
on conflict (id) do update
set queue_id = excluded.queue_id, description = excluded.description,
    max_attempts = excluded.max_attempts, priority = excluded.priority, queue_timeout = excluded.queue_timeout,
    execution_timeout = excluded.execution_timeout, registered_at = excluded.registered_at
where (w.queue_id, w.description, w.max_attempts, w.priority, w.queue_timeout, w.execution_timeout)
    is distinct from (excluded.queue_id, excluded.description, excluded.max_attempts, excluded.priority,
        excluded.queue_timeout, excluded.execution_timeout)
