-- Deletes the steps of executions that are being deleted. Locks: the deleted rows.
delete from workflows_step s
where s.execution_id = any(%(ids)s::uuid[])
