-- (queue, workflow) pairs that have queued executions and no live worker that registered them.
-- Walks the ready index in jumps, one probe per pair. Locks: none.
-- `offset 0` keeps the probe a probe: as a join, planned when few workers had registered for little, it compared every
-- pair with every registration (3 s for 4,000 pairs).
with recursive pair as (
    (
        select e.queue_id, e.workflow from queues_execution e
        where e.status = 'queued' order by e.queue_id, e.workflow limit 1
    )
    union all
    select n.queue_id, n.workflow
    from pair p
    cross join lateral (
        select e.queue_id, e.workflow from queues_execution e
        where e.status = 'queued' and (e.queue_id, e.workflow) > (p.queue_id, p.workflow)
        order by e.queue_id, e.workflow
        limit 1
    ) as n
)
select p.queue_id, p.workflow
from pair p
where not exists (
    select from queues_registration r
    where r.queue_id = p.queue_id and r.workflow = p.workflow and exists (
        select from queues_worker w
        where w.id = r.worker_id and w.state = 'alive' and w.lease_until > now()
        offset 0
    )
    offset 0
)
