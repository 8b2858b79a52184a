-- Forgets which executions these were that ran again. Locks: none that wait.
delete from queues_rerun r where r.execution_id = any(%(ids)s::uuid[])
