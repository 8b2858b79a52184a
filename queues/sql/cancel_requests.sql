-- Executions that are to be cancelled on these workers. Locks: none.
select e.worker_id, e.id
from queues_execution e
where e.status = 'cancelling' and e.worker_id = any(%(workers)s::uuid[])
