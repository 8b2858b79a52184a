-- Ids of all executions that are in one of these queues (null: any) and statuses, if they are few: at most `most` of
-- each kind, so one more than wanted says that there are too many. Every part is a stretch of a partial index: what is
-- queued, runs, is scheduled, waits or has finished. An index of what finished knows no status. Locks: none.
(
    select e.id from queues_execution e
    where %(queued)s::bool and e.status = 'queued'
        and (%(queues)s::bigint[] is null or e.queue_id = any(%(queues)s::bigint[]))
    limit %(most)s::int
)
union all
(
    select e.id from queues_execution e
    where %(held)s::bool and e.status in ('running', 'cancelling')
        and (%(queues)s::bigint[] is null or e.queue_id = any(%(queues)s::bigint[]))
    limit %(most)s::int
)
union all
(select e.id from queues_execution e where %(scheduled)s::bool and e.status = 'scheduled' limit %(most)s::int)
union all
(
    select e.id from queues_execution e
    where %(waiting)s::bool and e.status = 'waiting'
        and (%(queues)s::bigint[] is null or e.queue_id = any(%(queues)s::bigint[]))
    limit %(most)s::int
)
union all
(
    select e.id from queues_execution e
    where %(finished)s::bool and e.finished_at is not null and e.queue_id = any(%(queues)s::bigint[])
        and (%(since)s::timestamptz is null or e.finished_at >= %(since)s::timestamptz)
    limit %(most)s::int
)
limit %(most)s::int
