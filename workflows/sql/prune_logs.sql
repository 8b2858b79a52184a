-- Marks the journals of executions that are being deleted: their lines are deleted afterwards, some at a time, because
-- 1,000 executions may have ten million. Locks: journal rows.
update workflows_journal j
set gone = true
where j.execution_id = any(%(ids)s::uuid[])
