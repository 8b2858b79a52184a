-- Stores an event; nothing is returned when its id is there already. Also tells how many executions wait for it.
-- Locks: none that wait, but for an equal id.
insert into queues_event (id, topic, payload, published_at, published_by)
values (%(id)s::uuid, %(topic)s::text, %(payload)s::json, clock_timestamp(), %(by)s::text)
on conflict (id) do nothing
returning published_at, (
    select count(distinct w.execution_id) from queues_wait w
    where w.over_at is null and w.kind = 'event' and w.topic = %(topic)s::text
)
