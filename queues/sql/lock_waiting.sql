-- First statement of a wake-up: locks the executions that wait, and does nothing else, so that the next ones see what
-- whoever held them did. Locks: execution rows, in the order of their id.
select e.id
from queues_execution e
where e.id = any(%(ids)s::uuid[]) and case when e.status = 'waiting' then true end
order by e.id
for no key update
