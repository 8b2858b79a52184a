-- (queue, workflow) pairs that have queued executions and room to start one: what a claim may find.
-- Walks the ready index in jumps, one probe per pair, so its cost does not grow with the backlog. Locks: none.
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
join queues_queue q on q.id = p.queue_id
where not q.paused
    and (
        q.effective_limit is null
        or q.effective_limit > (
            select count(*) from queues_execution h
            where h.queue_id = q.id and h.slot_generation = q.slot_generation
                and h.status in ('running', 'cancelling')
        )
    )
