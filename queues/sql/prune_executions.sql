-- Deletes executions of a queue that finished long ago, with their holdings, waits, deadlines and keys, a bounded
-- number at a time.
-- Locks: the deleted rows, skipping locked ones.
with gone as (
    delete from queues_execution
    where id in (
        select e.id from queues_execution e
        where e.queue_id = %(queue)s::bigint and e.finished_at < now() - make_interval(days => %(days)s::int)
        order by e.finished_at
        limit %(most)s::int
        for update skip locked
    )
    returning id
),
holdings as (
    delete from queues_holding h using gone g where h.execution_id = g.id
),
waits as (
    delete from queues_wait w using gone g where w.execution_id = g.id
),
deadlines as (
    delete from queues_deadline d using gone g where d.execution_id = g.id
),
keys as (
    delete from queues_deduplication k using gone g where k.execution_id = g.id
)
select id from gone
