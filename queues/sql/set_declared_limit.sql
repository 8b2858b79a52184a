-- Code declares a limit. Returns nothing when it is the same and code said so before; a limit that was chosen when an
-- execution was enqueued is declared from now on. Locks: the queue's row.
with queue as (
    select q.id, q.declared_limit, q.declared_by like 'chosen %%' as chosen from queues_queue q
    where q.id = %(queue)s::bigint
    for no key update
)
update queues_queue q
set declared_limit = %(limit)s::int, declared_by = %(declared_by)s::text, declared_at = now(),
    version = q.version + (queue.declared_limit is distinct from %(limit)s::int)::int
from queue
where q.id = queue.id and (queue.declared_limit is distinct from %(limit)s::int or queue.chosen)
returning queue.declared_limit
