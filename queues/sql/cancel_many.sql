-- Does what `cancel` does, for executions that `lock_executions` has locked. Returns what became of each, and the
-- wake-up to send. Locks: none that it does not hold.
update queues_execution e
set status = case when e.status = 'running' then 'cancelling' else 'cancelled' end,
    finished_at = case when e.status = 'running' then null else clock_timestamp() end,
    cancel_by = %(by)s::text
where e.id = any(%(ids)s::uuid[])
    and case when e.status in ('scheduled', 'queued', 'waiting', 'running') then true end
returning e.id, e.status,
    case when e.status = 'cancelling' then 'cancel:' || e.worker_id else 'limits:' || e.queue_id end
