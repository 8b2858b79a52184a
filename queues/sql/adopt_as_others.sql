-- A worker that has just come gets what was adopted before it came: of each workflow that it registered for, what the
-- worker has that has been here longest (and so got all of it). One whose key is narrowed gets nothing, and has
-- nothing to give. Locks: as `adopt_pairs`.
insert into queues_registration (worker_id, queue_id, workflow, adopted)
select m.id, r.queue_id, r.workflow, true
from (
    select distinct w.id, o.workflow
    from queues_worker w
    join queues_registration o on o.worker_id = w.id and not o.adopted
    where w.id = %(worker)s::uuid and not exists (
        select from queues_apikey k where k.name = w.key_name and k.queue_patterns <> '[]'::jsonb
    )
) as m
cross join lateral (
    select s.id
    from queues_worker s
    where s.state = 'alive' and s.lease_until > now() and s.id <> m.id
        and exists (
            select from queues_registration o
            where o.worker_id = s.id and o.workflow = m.workflow and not o.adopted
        )
        and not exists (
            select from queues_apikey k where k.name = s.key_name and k.queue_patterns <> '[]'::jsonb
        )
    order by s.registered_at, s.id
    limit 1
) as s
join queues_registration r on r.worker_id = s.id and r.workflow = m.workflow and r.adopted
order by m.id, r.queue_id, r.workflow
on conflict do nothing
