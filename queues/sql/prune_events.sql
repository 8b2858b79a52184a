-- Deletes events that were published long ago, but for those that an execution which is still there has waited for; a
-- bounded number at a time. Locks: the deleted rows, skipping locked ones.
delete from queues_event
where id in (
    select v.id from queues_event v
    where v.published_at < now() - make_interval(days => %(days)s::int)
        and not exists (select from queues_wait w where w.event_id = v.id)
    order by v.published_at
    limit %(most)s::int
    for update skip locked
)
