-- What was there already for enqueued executions that `enqueue` did not insert: by id, or by the workflow's key.
-- `same` tells whether it is the same request (workflow, queue and payload). Locks: none.
select g.n::int, e.id, e.workflow, q.name, e.status, e.enqueued_at,
    e.workflow = g.workflow and e.queue_id = g.queue_id and e.payload::text = g.payload as same
from unnest(
    %(ids)s::uuid[], %(queues)s::bigint[], %(workflows)s::text[], %(payloads)s::text[], %(keys)s::text[]
) with ordinality as g (id, queue_id, workflow, payload, key, n)
cross join lateral (
    select * from queues_execution x where x.id = g.id
    union all
    select * from queues_execution x
    where g.key is not null and x.workflow = g.workflow and x.idempotency_key = g.key
    limit 1
) as e
join queues_queue q on q.id = e.queue_id
