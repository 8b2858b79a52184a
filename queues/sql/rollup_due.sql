-- For the roll-up of history: the time now, up to where it got, which whole ticks have ended, and since when the
-- oldest open transaction is open (what it will commit may be older). Seconds since 1970. Locks nothing.
select n.now, (select max(until) from queues_rollupstretch),
    (floor((n.now - %(settle)s::float8) / %(tick)s::int) * %(tick)s::int)::bigint,
    (
        select extract(epoch from min(a.xact_start))::float8 from pg_stat_activity a
        where a.datname = current_database() and a.pid <> pg_backend_pid() and a.backend_type = 'client backend'
    )
from (select extract(epoch from clock_timestamp())::float8 as now) as n
