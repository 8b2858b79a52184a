-- Asks a worker to take nothing new, or not to any more. Not returned: it is not in the state `from`, or gone.
-- Locks: the worker's row.
update queues_worker w
set state = %(to)s::text, drain_by = %(by)s::text, drain_reason = %(reason)s::text,
    drain_at = case when %(to)s::text = 'draining' then clock_timestamp() end
where w.id = %(worker)s::uuid and w.state = %(from)s::text and w.lease_until > clock_timestamp()
returning w.name
