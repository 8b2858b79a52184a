-- An event that is there already, and whether it is the same one. Locks: none.
select v.published_at, v.topic = %(topic)s::text and v.payload::text = %(payload)s::text as same
from queues_event v
where v.id = %(id)s::uuid
