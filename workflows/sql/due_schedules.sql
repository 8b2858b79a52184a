-- Schedules that are due, with where their executions go, and the database's time.
-- Locks: the rows of the schedules, skipping locked ones.
select
    s.id, s.name, s.workflow, coalesce(s.queue_id, w.queue_id), w.max_attempts, s.cron, s.timezone, s.every, s.at,
    s.anchor, s.payload::text, s.catch_up, s.catch_up_most, s.overlap, s.next_at, s.ticked_at, now(),
    w.priority, w.queue_timeout, w.execution_timeout, q.draining
from workflows_schedule s
join workflows_workflow w on w.id = s.workflow
join queues_queue q on q.id = coalesce(s.queue_id, w.queue_id)
where s.next_at <= now()
order by s.next_at, s.id
limit %(most)s::int
for no key update of s skip locked
