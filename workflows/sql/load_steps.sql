-- Results of the finished steps of executions that begin another attempt. Locks: none.
select s.execution_id, s.key, coalesce(s.result::text, 'null')
from workflows_step s
where s.execution_id = any(%(ids)s::uuid[]) and s.error is null
