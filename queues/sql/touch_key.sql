-- Notes that a key was used, at most once a minute. Locks: the key's row.
update queues_apikey
set last_used_at = now()
where id = %(id)s::text and coalesce(last_used_at < now() - interval '1 minute', true)
