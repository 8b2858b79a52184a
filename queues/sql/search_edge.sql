-- Where a stretch of `size` executions ends that begins below `before`: the id and the time of its last one. No row:
-- fewer are left. Reads the index of ids only. Locks: none.
select e.id, e.enqueued_at
from queues_execution e
where e.id < %(before)s::uuid and e.id >= %(after)s::uuid
order by e.id desc
offset %(size)s::int - 1
limit 1
