-- The backends that hear the hints of servers on this database, as far as their names tell (a pooler may add to a name),
-- and those of `greeters` that are still there. Locks: none.
select pid from pg_stat_activity
where datname = current_database()
    and (starts_with(application_name, 'polos-listener') or pid = any(%(greeters)s::int[]))
