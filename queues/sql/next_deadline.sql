-- Seconds until the next deadline, negative when it is over, null when there is none; and whether an execution waits for
-- another one to stop. Locks: none.
select extract(epoch from min(d.at) - clock_timestamp())::float8,
    exists (select from queues_deduplication k where k.after is not null)
from queues_deadline d
where d.at is not null
