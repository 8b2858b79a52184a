-- Notes what a worker declares, and returns the queues for which that is news: its declaration differs from what
-- it declared last, or it is new here and nobody alive declares the same. A reconnect is no news, and neither is
-- one more worker of an older version.
-- Locks: declaration rows, in the order of the queue.
with given as (
    select * from unnest(%(queues)s::bigint[], %(limits)s::int[], %(places)s::text[]) as g (queue_id, "limit", place)
),
before as (
    select g.queue_id, g."limit", d.id as known, d."limit" as declared
    from given g
    left join queues_declaration d on d.queue_id = g.queue_id and d.worker_name = %(worker_name)s::text
),
noted as (
    insert into queues_declaration as d (queue_id, worker_name, "limit", place, changed_at, seen_at)
    select g.queue_id, %(worker_name)s::text, g."limit", g.place, now(), now()
    from given g
    order by g.queue_id
    on conflict (queue_id, worker_name) do update
    set "limit" = excluded."limit", place = excluded.place, seen_at = now(),
        changed_at = case when d."limit" is distinct from excluded."limit" then now() else d.changed_at end
)
select b.queue_id, b."limit"
from before b
where case
    when b.known is not null then b.declared is distinct from b."limit"
    else not exists (
        select from queues_declaration o
        join queues_worker w on w.name = o.worker_name
        where o.queue_id = b.queue_id and o."limit" is not distinct from b."limit"
            and w.state in ('alive', 'draining') and w.lease_until > now()
    ) end
order by b.queue_id
