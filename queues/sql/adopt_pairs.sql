-- A queue chosen when an execution was enqueued is served by the workers that serve its workflow on other queues,
-- as long as nobody registered for that very pair. Workers whose key is narrowed to patterns of queues are left
-- out: they were checked against what they registered. Returns what was added. Locks: none that wait.
insert into queues_registration (worker_id, queue_id, workflow)
select distinct w.id, g.queue_id, g.workflow
from unnest(%(queues)s::bigint[], %(workflows)s::text[]) as g (queue_id, workflow)
join queues_worker w on w.state = 'alive' and w.lease_until > now()
where exists (
        select from queues_registration o where o.worker_id = w.id and o.workflow = g.workflow
    )
    and not exists (
        select from queues_apikey k where k.name = w.key_name and k.queue_patterns <> '[]'::jsonb
    )
    and not exists (
        select from queues_registration r
        join queues_worker s on s.id = r.worker_id
        where r.queue_id = g.queue_id and r.workflow = g.workflow
            and s.state = 'alive' and s.lease_until > now()
    )
on conflict do nothing
returning worker_id, queue_id, workflow
