-- What keeps vacuum from removing dead rows, for longer than `seconds`: open transactions of this database server,
-- prepared ones, and replication slots (these do not say since when: their xmin is compared with an earlier look).
-- Sessions of others show only as far as the rights of this role go. Locks: none.
select 'transaction' as kind, concat_ws(', ',
        'process ' || a.pid, 'user ' || a.usename, 'database ' || a.datname,
        nullif('application ' || a.application_name, 'application '), nullif('from ' || host(a.client_addr), 'from '),
        a.state) as who,
    a.xact_start as since, a.backend_xmin::text as pin
from pg_stat_activity a
where a.backend_xmin is not null and a.xact_start < now() - make_interval(secs => %(seconds)s::float8)
    and a.backend_type = 'client backend'
union all
select 'prepared transaction', concat_ws(', ', p.gid, 'owner ' || p.owner, 'database ' || p.database),
    p.prepared, p.transaction::text
from pg_prepared_xacts p
where p.prepared < now() - make_interval(secs => %(seconds)s::float8)
union all
select 'replication slot', concat_ws(', ', s.slot_name, s.slot_type, case when s.active then 'active' else 'inactive' end),
    null, coalesce(s.xmin, s.catalog_xmin)::text
from pg_replication_slots s
where s.xmin is not null or s.catalog_xmin is not null
