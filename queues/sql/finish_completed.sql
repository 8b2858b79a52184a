-- `finish` for results that are all of completed executions, as nearly all are: the same row afterwards, for a fifth
-- less, because nothing has to be decided.
-- Locks: execution rows, in the order of their id (before any queue).
with given as (
    select * from unnest(%(ids)s::uuid[], %(tokens)s::uuid[], %(results)s::text[]) as g (id, token, result)
    order by id
    offset 0
)
update queues_execution e
set status = 'completed', outcome = 'completed', released_at = clock_timestamp(), finished_at = clock_timestamp(),
    result = g.result::json, error = null, due_at = null
from given g
where e.id = g.id and e.token = g.token and case when e.status in ('running', 'cancelling') then true end
returning e.id, e.queue_id, e.status, e.parent_id
