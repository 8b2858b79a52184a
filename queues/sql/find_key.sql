-- One API key by its public id, revoked or not; `unused` when its last use was noted over a minute ago.
-- Locks: none.
select
    k.name, k.scope, k.queue_patterns::text, k.secret_hash, k.revoked_at is not null as revoked,
    coalesce(k.last_used_at < now() - interval '1 minute', true) as unused
from queues_apikey k
where k.id = %(id)s::text
