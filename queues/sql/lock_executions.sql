-- Locks executions, and does nothing else. Locks: execution rows, in the order of their id.
select e.id from queues_execution e where e.id = any(%(ids)s::uuid[]) order by e.id for no key update
