-- Figures whose cost grows with the backlog, read every few seconds: how many executions are scheduled, and the
-- exact number of waiting ones where there are too many to count each time. Locks nothing.
select queue_id, 0 as scheduled, count(*) as waiting
from queues_execution where status = 'queued' and queue_id = any(%(capped)s::bigint[])
group by queue_id
union all
select queue_id, count(*), 0 from queues_execution where status = 'scheduled' group by queue_id
