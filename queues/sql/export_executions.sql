-- These executions with all that an export says, newest first, as many as have `bytes` of payloads, results and errors
-- together, at least one. Sizes are looked at first and texts fetched after: few are in memory at once. Locks: none.
with sized as (
    select
        e.id, row_number() over (order by e.id desc) as n,
        sum(
            coalesce(octet_length(e.payload::text), 0) + coalesce(octet_length(e.result::text), 0)
            + coalesce(octet_length(e.error::text), 0)
        ) over (order by e.id desc) as bytes
    from queues_execution e
    where e.id = any(%(ids)s::uuid[])
)
select
    e.id::text, e.status, e.workflow, q.name, e.priority, e.enqueued_at, e.due_at, e.claimed_at, e.released_at,
    e.finished_at, e.attempt - coalesce(e.resumes, 0), coalesce(w.name, ''), e.parent_id::text,
    coalesce(e.error ->> 'type', ''), coalesce(e.error ->> 'message', ''), e.payload::text, e.result::text,
    e.error::text
from sized s
join queues_execution e on e.id = s.id
left join queues_queue q on q.id = e.queue_id
left join queues_worker w on w.id = e.worker_id
where s.n = 1 or s.bytes <= %(bytes)s::bigint
order by e.id desc
