-- Ids of all executions that are in one of these queues (null: any) and statuses, if there are at most `few`; else
-- null. Every part is a stretch of a partial index, read no further than that: what is queued, runs, is scheduled,
-- waits or has finished. An index of what finished knows no status. Locks: none.
with found as (
    (
        select e.id from queues_execution e
        where %(queued)s::bool and e.status = 'queued'
            and (%(queues)s::bigint[] is null or e.queue_id = any(%(queues)s::bigint[]))
        limit %(few)s::int + 1
    )
    union all
    (
        select e.id from queues_execution e
        where %(held)s::bool and e.status in ('running', 'cancelling')
            and (%(queues)s::bigint[] is null or e.queue_id = any(%(queues)s::bigint[]))
        limit %(few)s::int + 1
    )
    union all
    (select e.id from queues_execution e where %(scheduled)s::bool and e.status = 'scheduled' limit %(few)s::int + 1)
    union all
    (
        select e.id from queues_execution e
        where %(waiting)s::bool and e.status = 'waiting'
            and (%(queues)s::bigint[] is null or e.queue_id = any(%(queues)s::bigint[]))
        limit %(few)s::int + 1
    )
    union all
    (
        select e.id from queues_execution e
        where %(finished)s::bool and e.finished_at is not null and e.queue_id = any(%(queues)s::bigint[])
            and (%(since)s::timestamptz is null or e.finished_at >= %(since)s::timestamptz)
        limit %(few)s::int + 1
    )
    limit %(few)s::int + 1
)
select case when count(*) <= %(few)s::int then coalesce(array_agg(f.id), '{}') end from found f
