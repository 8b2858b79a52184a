-- Living workers one by one, with what each serves: read only for those who may not see every queue.
-- Locks nothing.
select w.id, w.state = 'alive' as takes, w.max_concurrent, coalesce(b.busy, 0) as busy,
    array(select distinct r.queue_id from queues_registration r where r.worker_id = w.id) as queues
from queues_worker w
left join (
    select e.worker_id, count(*) as busy
    from queues_execution e where e.status in ('running', 'cancelling') group by e.worker_id
) as b on b.worker_id = w.id
where w.state in ('alive', 'draining') and w.lease_until > now()
