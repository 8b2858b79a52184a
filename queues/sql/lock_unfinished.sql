-- Locks these executions as far as they are not final, and does nothing else: they are looked at afterwards.
-- Locks: execution rows, in the order of their id.
select e.id
from queues_execution e
where e.id = any(%(ids)s::uuid[]) and e.status not in ('completed', 'failed', 'cancelled')
order by e.id
for no key update
