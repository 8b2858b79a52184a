-- Whether an override or a pause has come to its end. Locks: none.
select exists (
    select from queues_queue q
    where q.overridden and q.override_until <= now() or q.paused and q.paused_until <= now()
)
