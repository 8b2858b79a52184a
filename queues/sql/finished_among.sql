-- Which of these executions are final, or unknown: nobody need wait for them. Locks: none.
select g.id
from unnest(%(ids)s::uuid[]) as g (id)
left join queues_execution e on e.id = g.id
where e.id is null or e.status in ('completed', 'failed', 'cancelled')
