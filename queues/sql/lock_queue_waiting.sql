-- The same for one queue that somebody else held a moment ago: waits for it (up to `lock_timeout`).
-- Locks: the row of a limited queue, the shared advisory lock of an unlimited one. Nothing else may be held.
select
    set_config('polos.locked', array(
        select q.id from queues_queue q
        where q.id = %(queue)s::bigint and q.effective_limit is not null
        for no key update
    )::text, true),
    set_config('polos.shared', array(
        select q.id from queues_queue q
        where q.id = %(queue)s::bigint
            and case when q.effective_limit is null then pg_try_advisory_xact_lock_shared(7105, q.id::int) end
    )::text, true)
