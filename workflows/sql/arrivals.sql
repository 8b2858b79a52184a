-- The oldest events that a trigger has not started anything for, and the database's time. Locks: none; the duty's
-- advisory lock keeps others away.
select
    a.id, v.id, v.topic, v.payload::text, v.published_at, extract(epoch from clock_timestamp() - a.at)::float8
from (
    select k.id, k.event_id, k.at
    from workflows_arrival k
    where k.trigger_id = %(trigger)s::bigint
    order by k.at, k.id
    limit %(most)s::int
) as a
join queues_event v on v.id = a.event_id
order by a.at, a.id
