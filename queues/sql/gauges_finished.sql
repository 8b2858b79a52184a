-- What finished since a moment, per queue and bucket of 10 seconds (numbered since 1970), and how much of it
-- failed. Reads one stretch of the index of finished rows per queue. Locks nothing.
select q.id, f.bucket, f.finished, f.failed
from queues_queue q
cross join lateral (
    select floor(extract(epoch from e.finished_at) / 10)::bigint as bucket, count(*) as finished,
        count(*) filter (where e.status = 'failed') as failed
    from queues_execution e
    where e.queue_id = q.id and e.finished_at is not null and e.finished_at >= to_timestamp(%(since)s::float8)
    group by 1
) as f
