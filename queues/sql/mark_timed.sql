-- Notes that executions of these queues may have a deadline, so that a claim there looks for it. Never taken back.
-- Locks: the queues' rows, in the order of their id.
with first as (
    select q.id from queues_queue q
    where q.id = any(%(queues)s::bigint[]) and not q.timed
    order by q.id
    for no key update
)
update queues_queue q set timed = true
from first f
where q.id = f.id
