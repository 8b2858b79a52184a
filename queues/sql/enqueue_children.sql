-- Does what `enqueue` does, for a batch with children. A child is only taken while its parent runs under the token
-- that the child names. On the queue of an ancestor it takes the place of the nearest one there, a microsecond earlier
-- for each generation: what has begun is finished before something new starts, the deepest first.
-- The parent is found by its id: that it runs is hidden, lest the planner walks all that ever ran and is not cleaned up.
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
    losses, outcome, cancel_by, parent_id, root_id, idempotency_key
)
select
    g.id, g.queue_id, g.workflow,
    case when g.due_at > now() then 'scheduled' else 'queued' end,
    coalesce(
        case when p.queue_id = g.queue_id then p.place - interval '1 microsecond' else (
            with recursive up as (
                select p.queue_id, p.place, p.parent_id, 1 as n
                union all
                select a.queue_id, a.place, a.parent_id, u.n + 1
                from up u
                join queues_execution a on a.id = u.parent_id
                where u.queue_id <> g.queue_id
            )
            select u.place - make_interval(secs => u.n * 1e-6::float8) from up u where u.queue_id = g.queue_id
        ) end,
        m.at + make_interval(secs => g.n * 1e-6::float8)
    ) - make_interval(secs => g.priority), g.priority, m.at,
    case when g.due_at > now() then g.due_at end,
    g.payload::json, 0, g.max_attempts, 0, '', '',
    p.id, coalesce(p.root_id, p.id), g.key
from moment m
cross join (
    select
        u.id, u.queue_id, u.workflow, u.priority, u.payload, u.max_attempts, u.key, u.parent_id,
        u.parent_token, u.n, coalesce(u.run_at, now() + make_interval(secs => u.delay)) as due_at
    from unnest(
        %(ids)s::uuid[], %(queues)s::bigint[], %(workflows)s::text[], %(priorities)s::int[],
        %(payloads)s::text[], %(max_attempts)s::int[], %(keys)s::text[], %(parents)s::uuid[],
        %(parent_tokens)s::uuid[], %(run_ats)s::timestamptz[], %(delays)s::float8[]
    ) with ordinality as u (
        id, queue_id, workflow, priority, payload, max_attempts, key, parent_id, parent_token, run_at, delay, n
    )
) as g
left join queues_execution p
    on p.id = g.parent_id and p.token = g.parent_token
    and case when p.status in ('running', 'cancelling') then true end
where g.parent_id is null or p.id is not null
order by g.key nulls last, g.id
on conflict do nothing
returning id, status, enqueued_at
