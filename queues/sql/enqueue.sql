-- Inserts executions, many at once. What is there already (same id, or same key for the workflow) is left
-- alone and not returned. A batch with children goes to `enqueue_children`.
-- The place keeps the order of arrival inside a batch: one microsecond apart. Its moment is one after the transaction has
-- its number, which `raise_floors` relies on, and kept in a setting, where `add_deadlines` finds it.
-- Locks: none that wait, but for rows of equal id or key; those are inserted in sorted order, because
-- batches that insert the same keys in different orders deadlock.
with moment as materialized (
    select m.at, set_config('polos.moment', m.at::text, true)
    from (
        select greatest(now(), case when pg_current_xact_id() is not null then clock_timestamp() end) as at
        offset 0
    ) as m
)
insert into queues_execution (
    id, queue_id, workflow, status, place, priority, enqueued_at, due_at, payload, attempt, max_attempts,
    losses, outcome, cancel_by, idempotency_key
)
select
    g.id, g.queue_id, g.workflow,
    case when g.due_at > now() then 'scheduled' else 'queued' end,
    m.at + make_interval(secs => g.n * 1e-6::float8 - g.priority), g.priority, m.at,
    case when g.due_at > now() then g.due_at end,
    g.payload::json, 0, g.max_attempts, 0, '', '', g.key
from moment m
cross join (
    select
        u.id, u.queue_id, u.workflow, u.priority, u.payload, u.max_attempts, u.key, u.n,
        coalesce(u.run_at, now() + make_interval(secs => u.delay)) as due_at
    from unnest(
        %(ids)s::uuid[], %(queues)s::bigint[], %(workflows)s::text[], %(priorities)s::int[],
        %(payloads)s::text[], %(max_attempts)s::int[], %(keys)s::text[],
        %(run_ats)s::timestamptz[], %(delays)s::float8[]
    ) with ordinality as u (id, queue_id, workflow, priority, payload, max_attempts, key, run_at, delay, n)
) as g
order by g.key nulls last, g.id
on conflict do nothing
returning id, status, enqueued_at
