-- Dead rows of the executions that vacuum has not removed, by PostgreSQL's own count, and whether a transaction is
-- open that has kept it from removing any for a while. That is seen of sessions of the same role only, or with the
-- rights to see all. Locks nothing.
select pg_stat_get_dead_tuples('queues_execution'::regclass), exists (
    select from pg_stat_activity a
    where coalesce(a.backend_xmin, a.backend_xid) is not null and a.xact_start < now() - interval '10 seconds'
)
