-- Inserts executions without keys, parents and times of which none is there yet: two thirds of the price of `enqueue`,
-- because a row that may be there already is inserted in two steps. One that is there fails all of it.
-- The place keeps the order of arrival inside a batch: one microsecond apart. Its moment is one after the transaction has
-- its number, which `raise_floors` relies on.
-- Of queues, workflows, priorities and max_attempts one is for all: a twentieth cheaper than the same a thousand times.
-- Locks: none that wait, but for rows of equal id; those are inserted in sorted order, see `enqueue`.
with moment as materialized (
    select greatest(now(), case when pg_current_xact_id() is not null then clock_timestamp() end) as at
),
added as (
    insert into queues_execution (
        id, queue_id, workflow, status, place, priority, enqueued_at, payload, attempt, max_attempts, losses,
        outcome, cancel_by
    )
    select
        g.id, g.queue_id, g.workflow, 'queued', m.at + make_interval(secs => g.n * 1e-6::float8 - g.priority),
        g.priority, m.at, g.payload, 0, g.max_attempts, 0, '', ''
    from moment m
    cross join (
        select
            u.id, u.payload, u.n, coalesce(u.queue_id, (%(queues)s::bigint[])[1]) as queue_id,
            coalesce(u.workflow, (%(workflows)s::text[])[1]) as workflow,
            coalesce(u.priority, (%(priorities)s::int[])[1]) as priority,
            coalesce(u.max_attempts, (%(max_attempts)s::int[])[1]) as max_attempts
        from unnest(
            %(ids)s::uuid[], %(queues)s::bigint[], %(workflows)s::text[], %(priorities)s::int[],
            %(payloads)s::json[], %(max_attempts)s::int[]
        ) with ordinality as u (id, queue_id, workflow, priority, payload, max_attempts, n)
    ) as g
    order by g.id
)
select at as enqueued_at from moment
