-- Locks journals, so that the lines of one execution are numbered by one server at a time. Execution rows are not
-- locked: they are hot, and a line that arrives in the moment in which its claim ends may be kept.
-- Locks: journal rows, in the order of their execution.
select j.execution_id
from workflows_journal j
where j.execution_id = any(%(ids)s::uuid[])
order by j.execution_id
for no key update
