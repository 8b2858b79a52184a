-- Which waits are for executions that are not children of the one that waits: a child that ends tells of its parent,
-- a stranger does not. Committed before it is looked whether those are final. Locks: wait rows, in the
-- order of (execution, key).
with fresh as (
    select w.id from queues_wait w
    where w.execution_id = any(%(ids)s::uuid[]) and w.kind = 'executions' and w.strangers is null
        and w.over_at is null
    order by w.execution_id, w.key
    for no key update
)
update queues_wait w
set strangers = exists (
    select from unnest(w.executions) as a (id)
    join queues_execution e on e.id = a.id
    where e.parent_id is distinct from w.execution_id
)
from fresh f
where w.id = f.id
returning w.strangers
