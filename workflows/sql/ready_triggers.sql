-- Triggers with enough events that have not started anything, or with one that has waited long enough, and whose
-- queue takes new work. Locks: none.
select
    t.id, t.workflow, t.batch_size, t.batch_timeout, q.id, w.max_attempts, w.priority, w.queue_timeout,
    w.execution_timeout
from workflows_trigger t
join workflows_workflow w on w.id = t.workflow
join queues_queue q on q.id = w.queue_id
cross join lateral (
    select count(*) as waiting, min(k.at) as oldest
    from (
        select a.at from workflows_arrival a where a.trigger_id = t.id order by a.at, a.id limit t.batch_size
    ) as k
) as a
where not q.draining
    and (a.waiting = t.batch_size or a.oldest <= clock_timestamp() - make_interval(secs => t.batch_timeout))
order by t.id
