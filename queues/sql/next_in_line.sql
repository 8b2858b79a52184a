-- next_in_line: the first waiting executions of one queue, in the order in which they start.
-- Walks execution_ready once per workflow and merges the heads: sorting the whole line would take longer
-- the longer it is.
-- Locks nothing.
with recursive workflows as (
    (
        select workflow from queues_execution
        where queue_id = %(queue_id)s::bigint and status = 'queued'
        order by workflow
        limit 1
    )
    union all
    select (
        select e.workflow from queues_execution e
        where e.queue_id = %(queue_id)s::bigint and e.status = 'queued' and e.workflow > w.workflow
        order by e.workflow
        limit 1
    )
    from workflows w
    where w.workflow is not null
)
select head.id
from workflows w
cross join lateral (
    select e.id, e.place from queues_execution e
    where e.queue_id = %(queue_id)s::bigint and e.status = 'queued' and e.workflow = w.workflow
    order by e.place, e.id
    limit %(limit)s::int
) head
where w.workflow is not null
order by head.place, head.id
limit %(limit)s::int
