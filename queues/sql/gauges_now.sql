-- All queues as they are at one moment: a row per queue with its limit and pause, what it holds, what waits,
-- who serves it. Counts rows; nothing is counted up or down. Locks nothing.
-- heads:   the first queued row of each (queue, workflow), hopping along the ready index: one probe per pair,
--          so 100,000 waiting rows cost as much as one. With priorities the head may not be the oldest row.
-- fleet:   all living workers, and what those that are not draining can take; there without any queue, too.
-- served:  by workers that get work: one that drains gets none (the claim's own condition).
-- waiting: counted up to 10,001 per queue; beyond that the caller knows a recent exact figure (gauges_slow).
-- at:      in the first row only: to read 2,000 times of day takes Python longer than to make the gauges.
with recursive heads as (
    (
        select queue_id, workflow, enqueued_at from queues_execution
        where status = 'queued' order by queue_id, workflow, place, id limit 1
    )
    union all
    select next.* from heads h
    cross join lateral (
        select x.queue_id, x.workflow, x.enqueued_at from queues_execution x
        where x.status = 'queued' and (x.queue_id, x.workflow) > (h.queue_id, h.workflow)
        order by x.queue_id, x.workflow, x.place, x.id limit 1
    ) as next
),
line as (
    select o.queue_id, o.oldest_at, c.waiting
    from (select queue_id, min(enqueued_at) as oldest_at from heads group by queue_id) as o
    cross join lateral (
        select count(*) as waiting from (
            select from queues_execution x where x.status = 'queued' and x.queue_id = o.queue_id limit 10001
        ) as capped
    ) as c
),
holder as materialized (
    select queue_id, worker_id, status, claimed_at
    from queues_execution where status in ('running', 'cancelling')
),
held as (
    select queue_id, count(*) filter (where status = 'running') as running,
        count(*) filter (where status = 'cancelling') as cancelling, max(claimed_at) as last_claimed_at
    from holder group by queue_id
),
alive as materialized (
    select id, max_concurrent, state = 'alive' as takes
    from queues_worker where state in ('alive', 'draining') and lease_until > now()
),
fleet as (
    select count(*) as workers, count(*) filter (where not a.takes) as draining,
        coalesce(sum(a.max_concurrent) filter (where a.takes), 0) as capacity,
        coalesce(sum(greatest(a.max_concurrent - coalesce(b.busy, 0), 0)) filter (where a.takes), 0) as free
    from alive a
    left join (select worker_id, count(*) as busy from holder group by worker_id) as b on b.worker_id = a.id
),
served as (
    select r.queue_id, count(distinct r.worker_id) as workers
    from queues_registration r join alive a on a.id = r.worker_id and a.takes
    group by r.queue_id
),
declared as (
    select queue_id, count(distinct coalesce("limit", -1)) > 1 as disagree
    from queues_declaration group by queue_id
)
select q.id, q.name, q.effective_limit, q.declared_limit, q.overridden, q.override_by, q.override_reason,
    q.override_until, q.declared_by, q.paused, q.paused_by, q.paused_reason, q.paused_at, q.paused_until, q.version,
    coalesce(d.disagree, false) as disagree, coalesce(h.running, 0) as running,
    coalesce(h.cancelling, 0) as cancelling, h.last_claimed_at, coalesce(l.waiting, 0) as waiting, l.oldest_at,
    coalesce(s.workers, 0) as workers, q.draining, q.drain_by, q.drain_reason, q.drain_at,
    f.workers as fleet_workers, f.draining as fleet_draining, f.capacity as fleet_capacity, f.free as fleet_free,
    case when row_number() over (order by q.name) = 1 then clock_timestamp() end as at
from fleet f
left join queues_queue q on true
left join held h on h.queue_id = q.id
left join line l on l.queue_id = q.id
left join served s on s.queue_id = q.id
left join declared d on d.queue_id = q.id
order by q.name
