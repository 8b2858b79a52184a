-- Takes back a floor that something fresh waits under: the clock was set back, or an enqueue took longer to commit than
-- `raise_floors` reckons with. Its candidate may be as wrong. Returns the queues. Locks: floors.
update queues_floor f set place = '-infinity', candidate = now() - interval '1 second', candidate_xid = pg_current_xact_id()
where f.place > '-infinity' and exists (
    select from queues_execution x
    where x.queue_id = f.queue_id and x.workflow = f.workflow and x.status = 'queued' and x.place < f.place
        and not (x.attempt > 0 or x.place < x.enqueued_at or x.due_at is not null)
)
returning f.queue_id
