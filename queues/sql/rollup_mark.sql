-- Notes how far the roll-up got, and which part of it was looked at as it passed: the newest stretch grows when
-- nothing is missing in between (or is empty), else a new one begins. Locks: the newest stretch.
with grown as (
    update queues_rollupstretch
    set until = %(until)s::bigint, since = case when since = until then %(looks_from)s::bigint else since end
    where until = %(since)s::bigint and (since = until or %(looks_from)s::bigint = %(since)s::bigint)
    returning since
)
insert into queues_rollupstretch (since, until)
select %(looks_from)s::bigint, %(until)s::bigint
where not exists (select from grown)
