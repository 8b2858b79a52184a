-- Who may wait for these executions: their parents, and those that wait for one of them without being its parent.
-- Locks: none.
select e.parent_id from queues_execution e where e.id = any(%(ids)s::uuid[]) and e.parent_id is not null
union
select w.execution_id from queues_wait w where w.over_at is null and w.strangers and w.executions && %(ids)s::uuid[]
