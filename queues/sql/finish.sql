-- Ends claims, many at once, each guarded by its token: a stale token finds no row and changes nothing.
-- Completed is final; a failure with `retry_in` goes back to its place while tries are left; released goes
-- back and gets its try back; on a cancelling execution everything but `completed` means cancelled.
-- Locks: execution rows, in the order of their id (before any queue).
with given as (
    select * from unnest(
        %(ids)s::uuid[], %(tokens)s::uuid[], %(outcomes)s::text[], %(results)s::text[], %(errors)s::text[],
        %(retry_ins)s::float8[]
    ) as g (id, token, outcome, result, error, retry_in)
),
locked as (
    select e.id, e.queue_id, g.outcome, g.result, g.error, g.retry_in, case
        when g.outcome = 'completed' then 'completed'
        when e.status = 'cancelling' or g.outcome = 'cancelled' then 'cancelled'
        when g.outcome = 'released' then 'queued'
        when g.retry_in is null or e.attempt >= e.max_attempts then 'failed'
        when g.retry_in > 0 then 'scheduled'
        else 'queued' end as status
    from (select * from given order by id) as g
    cross join lateral (
        -- One look-up by key per result: as a plain join the planner may walk all that is held for each of them.
        select x.* from queues_execution x where x.id = g.id for no key update
    ) as e
    where e.token = g.token and e.status in ('running', 'cancelling')
)
update queues_execution e
set status = l.status, outcome = l.outcome, released_at = clock_timestamp(),
    finished_at = case when l.status in ('completed', 'failed', 'cancelled') then clock_timestamp() end,
    due_at = case when l.status = 'scheduled' then clock_timestamp() + make_interval(secs => l.retry_in) end,
    max_attempts = e.max_attempts + (l.outcome = 'released')::int,
    result = l.result::json, error = l.error::json
from locked l
where e.id = l.id
returning e.id, e.queue_id, e.status
