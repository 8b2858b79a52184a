-- Seconds until the next scheduled execution is due; null when none is. Locks: none.
select extract(epoch from e.due_at - clock_timestamp())
from queues_execution e
where e.status = 'scheduled'
order by e.due_at
limit 1
