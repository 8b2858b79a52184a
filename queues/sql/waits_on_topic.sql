-- Executions that wait for an event on a topic. Locks: none.
select distinct w.execution_id
from queues_wait w
where w.over_at is null and w.kind = 'event' and w.topic = %(topic)s::text
