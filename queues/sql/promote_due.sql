-- Scheduled executions that are due become queued, in their old place; `due_at` stays, see `execution_early`.
-- Locks: execution rows, skipping locked ones.
with due as (
    select e.id from queues_execution e
    where e.status = 'scheduled' and e.due_at <= now()
    order by e.due_at
    limit %(most)s::int
    for no key update skip locked
)
update queues_execution e set status = 'queued'
from due d
where e.id = d.id and e.status = 'scheduled'
returning e.queue_id, e.workflow
