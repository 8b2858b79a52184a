-- Cancels an execution that waits; asks for one that runs (it holds its slot until its worker has stopped it or
-- the lease ends). Returns the new status, and the wake-up to send. Locks: the execution's row.
-- One plain UPDATE on purpose: after a wait for a claim it is worked out again on the row that the claim left. With
-- the old status read in a CTE, the row from before the claim was checked against the constraints, and failed.
update queues_execution e
set status = case when e.status = 'running' then 'cancelling' else 'cancelled' end,
    finished_at = case when e.status = 'running' then null else clock_timestamp() end,
    cancel_by = %(by)s::text
where e.id = %(id)s::uuid and e.status in ('scheduled', 'queued', 'waiting', 'running')
returning e.status,
    case when e.status = 'cancelling' then 'cancel:' || e.worker_id else 'limits:' || e.queue_id end
