-- The executions that have deduplication keys: how they stand, and whom they wait for to stop. Locks: none.
select e.id, e.status, e.claimed_at is not null as started, e.enqueued_at, e.parent_id, p.id
from queues_execution e
left join queues_deduplication k on k.execution_id = e.id
left join queues_execution p on p.id = k.after and p.status not in ('completed', 'failed', 'cancelled')
where e.id = any(%(ids)s::uuid[])
