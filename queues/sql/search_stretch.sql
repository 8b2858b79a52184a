-- Executions of one stretch of ids that match a search, newest first. `after` and `before` bound what is read, however
-- little matches. What is cheap to ask comes first; texts and payloads are looked at where all the rest matches.
-- Patterns are those of LIKE. Locks: none.
select e.id
from queues_execution e
where e.id < %(before)s::uuid and e.id >= %(after)s::uuid
    and (%(ids)s::uuid[] is null or e.id = any(%(ids)s::uuid[]))
    and (%(statuses)s::text[] is null or e.status = any(%(statuses)s::text[]))
    and (%(queues)s::bigint[] is null or e.queue_id = any(%(queues)s::bigint[]))
    and (%(workers)s::uuid[] is null or e.worker_id = any(%(workers)s::uuid[]))
    and (%(parent)s::uuid is null or e.parent_id = %(parent)s::uuid)
    and (%(since)s::timestamptz is null or e.enqueued_at >= %(since)s::timestamptz)
    and (%(until)s::timestamptz is null or e.enqueued_at < %(until)s::timestamptz)
    and (%(workflows)s::text[] is null or e.workflow like any(%(workflows)s::text[]))
    and (%(id_end)s::text is null or e.id::text like %(id_end)s::text)
    and (
        %(words)s::text[] is null
        or e.workflow ilike all(%(words)s::text[]) or e.queue_id = any(%(word_queues)s::bigint[])
    )
    and (
        %(errors)s::text[] is null
        or (
            e.error is not null
            and concat(e.error ->> 'type', ': ', e.error ->> 'message') ilike all(%(errors)s::text[])
        )
    )
    and (
        %(paths)s::text[] is null
        or (
            e.payload is not null
            and not exists (
                select from unnest(%(paths)s::text[], %(values)s::text[]) as f (path, value)
                where coalesce(e.payload #>> f.path::text[] not like f.value, true)
            )
        )
    )
order by e.id desc
limit %(most)s::int
