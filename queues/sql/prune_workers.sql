-- Deletes workers that left or were lost long ago, with what they registered, a bounded number at a time.
-- Locks: the deleted rows, skipping locked ones.
with gone as (
    select w.id from queues_worker w
    where w.state in ('left', 'lost') and w.left_at < now() - make_interval(days => %(days)s::int)
        and not exists (
            select from queues_execution e
            where e.status in ('running', 'cancelling') and e.worker_id = w.id
        )
    limit %(most)s::int
    for update skip locked
),
pairs as (
    delete from queues_registration r using gone g where r.worker_id = g.id
)
delete from queues_worker w using gone g where w.id = g.id
