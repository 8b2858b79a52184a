-- Ends claims, many at once, each guarded by its token: a stale token finds no row and changes nothing.
-- Completed is final; a failure with `retry_in` goes back to its place while tries are left; released goes
-- back and gets its try back; on a cancelling execution everything but `completed` means cancelled, or failed with
-- the error that is there already when its time was over (`time_out`). One that waits holds nothing any more;
-- `declare_waits` follows. The parent is returned for those who wait for their children.
-- Locks: execution rows, in the order of their id (before any queue).
--
-- One pass, without locking the rows first. A row that somebody else just changed is looked at again by PostgreSQL,
-- condition and new values both, before it is written.
-- The status is hidden in a CASE, so that each row is found by its key: the planner would take the index over
-- what is held and walk all of it for every single result (11 ms for 200, and not 2).
with given as (
    select * from unnest(
        %(ids)s::uuid[], %(tokens)s::uuid[], %(outcomes)s::text[], %(results)s::text[], %(errors)s::text[],
        %(retry_ins)s::float8[]
    ) as g (id, token, outcome, result, error, retry_in)
    order by id
    offset 0
)
update queues_execution e
set outcome = g.outcome, released_at = clock_timestamp(), result = g.result::json,
    error = case when e.error is null then g.error::json when g.outcome <> 'completed' then e.error end,
    max_attempts = e.max_attempts + (g.outcome = 'released')::int,
    (status, finished_at, due_at) = (
        select s.status,
            case when s.status in ('completed', 'failed', 'cancelled') then clock_timestamp() end,
            case when s.status = 'scheduled' then clock_timestamp() + make_interval(secs => g.retry_in) end
        from (select case
            when g.outcome = 'completed' then 'completed'
            when e.status = 'cancelling' and e.error is not null then 'failed'
            when e.status = 'cancelling' or g.outcome = 'cancelled' then 'cancelled'
            when g.outcome = 'released' then 'queued'
            when g.outcome = 'waiting' then 'waiting'
            when g.retry_in is null or e.attempt >= e.max_attempts then 'failed'
            when g.retry_in > 0 then 'scheduled'
            else 'queued' end as status
        ) as s
    )
from given g
where e.id = g.id and e.token = g.token and case when e.status in ('running', 'cancelling') then true end
returning e.id, e.queue_id, e.status, e.parent_id
