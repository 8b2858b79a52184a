-- These executions, newest first, ended early where payloads and results grow over `bytes`. Locks: none.
with page as (
    select
        e.id, e.workflow, q.name, e.status, coalesce(e.payload::text, 'null') as payload,
        coalesce(e.result::text, 'null') as result, coalesce(e.error::text, 'null') as error,
        e.attempt - coalesce(e.resumes, 0) as attempt, e.max_attempts - coalesce(e.resumes, 0) as max_attempts,
        e.priority, e.enqueued_at, e.due_at, e.claimed_at, e.finished_at, e.worker_id, e.slot, e.parent_id, e.root_id
    from queues_execution e
    join queues_queue q on q.id = e.queue_id
    where e.id = any(%(ids)s::uuid[])
),
sized as (
    select
        p.*, row_number() over (order by p.id desc) as n,
        sum(length(p.payload) + length(p.result) + length(p.error)) over (order by p.id desc) as bytes
    from page p
)
select
    s.id, s.workflow, s.name, s.status, s.payload, s.result, s.error, s.attempt, s.max_attempts, s.priority,
    s.enqueued_at, s.due_at, s.claimed_at, s.finished_at, s.worker_id, s.slot, s.parent_id, s.root_id
from sized s
where s.n = 1 or s.bytes <= %(bytes)s::bigint
order by s.id desc
