-- `enqueue` for a single execution without keys, parents and times, a quarter less for PostgreSQL: no rows are made of
-- arrays, and none sorted.
-- Its moment is one after the transaction has its number, which `raise_floors` relies on.
-- Locks: none that wait, but for a row of equal id.
insert into queues_execution (
    id, queue_id, workflow, status, place, priority, enqueued_at, payload, attempt, max_attempts, losses,
    outcome, cancel_by
)
select
    %(id)s::uuid, %(queue)s::bigint, %(workflow)s::text, 'queued',
    m.at + make_interval(secs => 1e-6::float8 - %(priority)s::int), %(priority)s::int, m.at, %(payload)s::json, 0,
    %(max_attempts)s::int, 0, '', ''
from (
    select greatest(now(), case when pg_current_xact_id() is not null then clock_timestamp() end) as at
    offset 0
) as m
on conflict do nothing
returning id, status, enqueued_at
