-- Takes over what a worker declared about its workflows; a reconnect that declares the same writes nothing.
-- Locks: the rows of the workflows that change, in the order of their id.
insert into workflows_workflow as w (id, queue_id, description, max_attempts, registered_at)
select g.id, q.id, g.description, g.max_attempts, now()
from unnest(
    %(ids)s::text[], %(queues)s::text[], %(descriptions)s::text[], %(max_attempts)s::int[]
) as g (id, queue, description, max_attempts)
join queues_queue q on q.name = g.queue
order by g.id
on conflict (id) do update
set queue_id = excluded.queue_id, description = excluded.description,
    max_attempts = excluded.max_attempts, registered_at = excluded.registered_at
where (w.queue_id, w.description, w.max_attempts)
    is distinct from (excluded.queue_id, excluded.description, excluded.max_attempts)
