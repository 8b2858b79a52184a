-- Seconds until the next schedule is due; null when none is. Locks: none.
select extract(epoch from min(s.next_at) - clock_timestamp())
from workflows_schedule s
where s.next_at is not null
