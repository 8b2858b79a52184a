-- Children, and children of children, of an execution that can be cancelled, with their queue. Locks: none.
with recursive family as (
    select e.id, e.queue_id, e.status from queues_execution e where e.parent_id = %(id)s::uuid
    union
    select e.id, e.queue_id, e.status from family f join queues_execution e on e.parent_id = f.id
)
select f.id, q.name
from family f
join queues_queue q on q.id = f.queue_id
where f.status in ('scheduled', 'queued', 'waiting', 'running')
