-- When the limit of some queues last changed, declared or overridden. `declared` changes are dated by the start of
-- their transaction, which may have waited for the lock. Locks nothing.
select queue_id, max(at + case kind when 'declared' then interval '6 seconds' else interval '0' end)
from queues_change
where queue_id = any(%(queues)s::bigint[]) and kind in ('declared', 'override')
group by queue_id
