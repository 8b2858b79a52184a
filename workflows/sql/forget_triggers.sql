-- Deletes the triggers of workflows that have none any more; and those that this worker declared for workflows that
-- it does not declare any more and nobody serves. With them go events that have not started anything.
-- Locks: the deleted rows.
with gone as (
    select t.id from workflows_trigger t
    where t.workflow = any(%(without)s::text[])
        or t.declared_by = %(worker)s::text and t.workflow <> all(%(workflows)s::text[]) and not exists (
            select from queues_registration r
            join queues_worker w on w.id = r.worker_id
            where r.workflow = t.workflow and w.state = 'alive' and w.lease_until > now()
        )
    order by t.workflow
    for update
),
arrivals as (
    delete from workflows_arrival a using gone where a.trigger_id = gone.id
)
delete from workflows_trigger t using gone where t.id = gone.id
