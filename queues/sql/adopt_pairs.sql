-- A queue chosen when an execution was enqueued is served by the workers that serve its workflow on other queues,
-- as long as nobody registered for that very pair. Workers whose key is narrowed to patterns of queues are left
-- out: they were checked against what they registered. Returns what was added, with the names of the queues.
-- `offset 0`: see `unserved_pairs`. Locks: none that wait but for who adopts the same, in the order of (worker, pair).
with given as materialized (
    select g.queue_id, g.workflow
    from unnest(%(queues)s::bigint[], %(workflows)s::text[]) as g (queue_id, workflow)
    where not exists (
        select from queues_registration r
        where r.queue_id = g.queue_id and r.workflow = g.workflow and exists (
            select from queues_worker s
            where s.id = r.worker_id and s.state = 'alive' and s.lease_until > now()
            offset 0
        )
        offset 0
    )
),
taker as materialized (
    select w.id, n.workflow
    from (select distinct workflow from given) as n
    join queues_worker w on w.state = 'alive' and w.lease_until > now()
    where exists (
            select from queues_registration o where o.worker_id = w.id and o.workflow = n.workflow
        )
        and not exists (
            select from queues_apikey k where k.name = w.key_name and k.queue_patterns <> '[]'::jsonb
        )
)
insert into queues_registration (worker_id, queue_id, workflow, adopted)
select t.id, g.queue_id, g.workflow, true
from given g
join taker t on t.workflow = g.workflow
order by t.id, g.queue_id, g.workflow
on conflict do nothing
returning worker_id, queue_id, workflow, (select q.name from queues_queue q where q.id = queue_id)
