-- One page of executions, newest first, ended early where payloads and results grow over `bytes`. The last
-- column is how many the page would have had without that; one more than `most` is looked for. Locks: none.
with page as (
    select
        e.id, e.workflow, q.name, e.status, coalesce(e.payload::text, 'null') as payload,
        coalesce(e.result::text, 'null') as result, coalesce(e.error::text, 'null') as error,
        e.attempt - coalesce(e.resumes, 0) as attempt, e.max_attempts - coalesce(e.resumes, 0) as max_attempts,
        e.priority, e.enqueued_at, e.due_at, e.claimed_at, e.finished_at, e.worker_id, e.slot, e.parent_id, e.root_id
    from queues_execution e
    join queues_queue q on q.id = e.queue_id
    where (%(before)s::uuid is null or e.id < %(before)s::uuid)
        and (%(queues)s::bigint[] is null or e.queue_id = any(%(queues)s::bigint[]))
        and (%(workflow)s::text is null or e.workflow = %(workflow)s::text)
        and (%(status)s::text is null or e.status = %(status)s::text)
        and (%(parent)s::uuid is null or e.parent_id = %(parent)s::uuid)
    order by e.id desc
    limit %(most)s::int + 1
),
sized as (
    select
        p.*, count(*) over () as found,
        sum(length(p.payload) + length(p.result) + length(p.error)) over (order by p.id desc) as bytes,
        row_number() over (order by p.id desc) as n
    from page p
)
select
    s.id, s.workflow, s.name, s.status, s.payload, s.result, s.error, s.attempt, s.max_attempts, s.priority,
    s.enqueued_at, s.due_at, s.claimed_at, s.finished_at, s.worker_id, s.slot, s.parent_id, s.root_id, s.found
from sized s
where s.n <= %(most)s::int and (s.n = 1 or s.bytes <= %(bytes)s::bigint)
order by s.id desc
