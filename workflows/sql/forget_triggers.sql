-- Deletes the triggers of these workflows, with the events that have not started anything yet.
-- Locks: the deleted rows.
with gone as (
    select t.id from workflows_trigger t
    where t.workflow = any(%(workflows)s::text[])
    order by t.workflow
    for update
),
arrivals as (
    delete from workflows_arrival a using gone where a.trigger_id = gone.id
)
delete from workflows_trigger t using gone where t.id = gone.id
