-- Executions with a wait whose time has come. Locks: none.
select w.execution_id
from queues_wait w
where w.over_at is null and w.until <= clock_timestamp()
order by w.until
limit %(most)s::int
