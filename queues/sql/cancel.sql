-- Cancels an execution that waits; asks for one that runs (it holds its slot until its worker has stopped it or
-- the lease ends). Returns the new status, and the wake-up to send. Locks: the execution's row.
with asked as (
    select e.id, e.status, e.worker_id, e.queue_id from queues_execution e
    where e.id = %(id)s::uuid and e.status in ('scheduled', 'queued', 'waiting', 'running')
    for no key update
)
update queues_execution e
set status = case when a.status = 'running' then 'cancelling' else 'cancelled' end,
    finished_at = case when a.status = 'running' then null else clock_timestamp() end,
    cancel_by = %(by)s::text
from asked a
where e.id = a.id
returning e.status,
    case when a.status = 'running' then 'cancel:' || a.worker_id else 'limits:' || a.queue_id end
