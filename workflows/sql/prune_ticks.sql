-- Deletes the ticks whose executions are being deleted. Locks: the deleted rows.
delete from workflows_tick t
where t.execution_id = any(%(ids)s::uuid[])
