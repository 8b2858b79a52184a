-- Notes the (queue, workflow) pairs that a worker serves. Locks: none that wait.
insert into queues_registration (worker_id, queue_id, workflow, adopted)
select %(worker)s::uuid, g.queue_id, g.workflow, false
from unnest(%(queues)s::bigint[], %(workflows)s::text[]) as g (queue_id, workflow)
order by g.queue_id, g.workflow
on conflict do nothing
