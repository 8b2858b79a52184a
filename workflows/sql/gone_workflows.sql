-- Workflows with a schedule or a trigger of code that the code seems to have no more: nobody has served them for so
-- many seconds, though the worker that declared them is here. Locks: none.
select s.workflow
from (
    select workflow, declared_by from workflows_schedule where declared
    union
    select workflow, declared_by from workflows_trigger
) as s
join workflows_workflow f on f.id = s.workflow
where exists (
        select from queues_worker w
        where w.name = s.declared_by and w.state in ('alive', 'draining') and w.lease_until > now()
    )
    and not exists (
        select from queues_registration r
        join queues_worker w on w.id = r.worker_id
        where r.queue_id = f.queue_id and r.workflow = s.workflow
            and w.lease_until > now() - make_interval(secs => %(seconds)s::float8)
    )
