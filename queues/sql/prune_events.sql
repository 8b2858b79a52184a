-- Deletes events that were published long ago, a bounded number at a time. Locks: the deleted rows, skipping locked
-- ones.
delete from queues_event
where id in (
    select v.id from queues_event v
    where v.published_at < now() - make_interval(days => %(days)s::int)
    order by v.published_at
    limit %(most)s::int
    for update skip locked
)
