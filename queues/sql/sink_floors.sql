-- Takes back a floor that something fresh waits under: the clock was set back by more than `raise_floors` reckons with.
-- Returns the queues. Locks: floors.
update queues_floor f set place = '-infinity'
where f.place > '-infinity' and exists (
    select from queues_execution x
    where x.queue_id = f.queue_id and x.workflow = f.workflow and x.status = 'queued' and x.place < f.place
        and not (x.attempt > 0 or x.place < x.enqueued_at or x.due_at is not null)
)
returning f.queue_id
