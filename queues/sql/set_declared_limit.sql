-- Code declares another limit. Returns nothing when it is the same. Locks: the queue's row.
with queue as (
    select q.id, q.declared_limit from queues_queue q
    where q.id = %(queue)s::bigint
    for no key update
)
update queues_queue q
set declared_limit = %(limit)s::int, declared_by = %(declared_by)s::text, declared_at = now(),
    version = q.version + 1
from queue
where q.id = queue.id and queue.declared_limit is distinct from %(limit)s::int
returning queue.declared_limit
