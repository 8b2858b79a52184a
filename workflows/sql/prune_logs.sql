-- Deletes the log lines and the journals of executions that are being deleted. Locks: the deleted rows.
with gone as (
    delete from workflows_journal j
    where j.execution_id = any(%(ids)s::uuid[])
    returning j.execution_id
)
delete from workflows_logline l
using gone g
where l.execution_id = g.execution_id
