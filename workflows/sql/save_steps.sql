-- Saves steps, many at once, each (execution, key) given once. The first result counts: what is there already
-- is left alone and not returned. A step that failed may be saved again. Run after `lock_for_steps`.
-- Locks: step rows, in the order of (execution, key).
insert into workflows_step as s (
    execution_id, key, result, error, attempt, started_at, ended_at, child_id
)
select
    g.execution_id, g.key, g.result::json, g.error::json, g.attempt,
    coalesce(g.started_at, g.ended_at, clock_timestamp()), coalesce(g.ended_at, clock_timestamp()), g.child_id
from unnest(
    %(ids)s::uuid[], %(keys)s::text[], %(results)s::text[], %(errors)s::text[], %(attempts)s::int[],
    %(started)s::timestamptz[], %(ended)s::timestamptz[], %(children)s::uuid[]
) as g (execution_id, key, result, error, attempt, started_at, ended_at, child_id)
order by g.execution_id, g.key
on conflict (execution_id, key) do update
set result = excluded.result, error = excluded.error, attempt = excluded.attempt,
    started_at = excluded.started_at, ended_at = excluded.ended_at, child_id = excluded.child_id
where s.error is not null
returning s.execution_id, s.key
