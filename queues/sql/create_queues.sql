-- Makes queues that do not exist yet; those that do are left alone and not returned.
-- Locks: none that wait, but for queues of the same name being made right now (names are sorted).
insert into queues_queue (
    name, declared_limit, declared_by, declared_at, overridden, override_reason, override_by, paused,
    paused_reason, paused_by, version, created_at
)
select g.name, g.declared_limit, %(declared_by)s::text, now(), false, '', '', false, '', '', 1, now()
from unnest(%(names)s::text[], %(limits)s::int[]) as g (name, declared_limit)
order by g.name
on conflict (name) do nothing
returning name
