-- An event that was just stored is to start every workflow that its topic triggers. Locks: none.
insert into workflows_arrival (trigger_id, event_id, at)
select t.id, v.id, v.published_at
from workflows_trigger t
join queues_event v on v.id = %(event)s::uuid
where t.topic = %(topic)s::text
