-- What `lock_waiting` does, in the transaction that ends children: who is locked is left to the look after the commit.
-- Locks: execution rows, in the order of their id, skipping locked ones.
select e.id
from queues_execution e
where e.id = any(%(ids)s::uuid[]) and case when e.status = 'waiting' then true end
order by e.id
for no key update skip locked
