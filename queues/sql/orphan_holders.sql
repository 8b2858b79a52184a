-- Workers named by held executions that are not alive any more: starts from what is held, so that nothing can
-- stay held because a row about its worker is missing or was left half-done. Locks: none.
select e.worker_id
from (select distinct worker_id from queues_execution where status in ('running', 'cancelling') offset 0) as e
where not exists (
    select from queues_worker w
    where w.id = e.worker_id and w.state in ('alive', 'draining')
)
limit %(most)s::int
