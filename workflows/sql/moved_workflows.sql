-- Of the given workflows those that were registered on another queue until now. Locks: none.
select w.id, q.name, g.queue
from unnest(%(ids)s::text[], %(queues)s::text[]) as g (id, queue)
join workflows_workflow w on w.id = g.id
join queues_queue q on q.id = w.queue_id
where q.name <> g.queue
order by w.id
