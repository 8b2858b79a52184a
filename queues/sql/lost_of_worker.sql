-- Executions that a worker held when it was lost, and what became of them, newest first. Three ways, each by an index:
-- what was claimed again since, what waits in its place, and what ended with the worker. Locks: none.
select e.id from queues_holding h
join queues_execution e on e.id = h.execution_id
where h.worker_id = %(worker)s::uuid and h.outcome = 'lost'
union
select e.id from queues_execution e
where e.status = 'queued' and e.attempt > 0 and e.worker_id = %(worker)s::uuid and e.outcome = 'lost'
union
select e.id
from (select distinct r.queue_id from queues_registration r where r.worker_id = %(worker)s::uuid) as q
join queues_execution e on e.queue_id = q.queue_id and e.finished_at is not null
    and e.finished_at between %(left_at)s::timestamptz and %(left_at)s::timestamptz + interval '10 minutes'
where e.worker_id = %(worker)s::uuid and e.outcome = 'lost'
order by 1 desc
limit %(most)s::int
