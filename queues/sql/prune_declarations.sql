-- Deletes what workers declared long ago that have not come back under the same name since, a bounded number at a time:
-- a worker that is named after its process leaves some behind each time. Locks: the deleted rows, skipping locked ones.
delete from queues_declaration
where id in (
    select d.id from queues_declaration d
    where d.seen_at < now() - make_interval(days => %(days)s::int)
        and not exists (
            select from queues_worker w where w.name = d.worker_name and w.state in ('alive', 'draining')
        )
    limit %(most)s::int
    for update skip locked
)
