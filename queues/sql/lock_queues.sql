-- First statement of a claim: locks queues, and does nothing else. A lock does not refresh the snapshot of the
-- statement that takes it, so limit, pause and occupancy are only read in the next one (`claim`).
-- Which queues are ours is kept in two settings of the transaction, where the next statement finds them.
-- Locks: limited queues by their row, skipping those that somebody else holds; unlimited ones by a shared
-- advisory lock, which lets claims run side by side and makes a change of the limit wait for them.
select
    set_config('polos.locked', array(
        select q.id from queues_queue q
        where q.id = any(%(queues)s::bigint[]) and q.effective_limit is not null
        for no key update skip locked
    )::text, true),
    set_config('polos.shared', array(
        select q.id from queues_queue q
        where q.id = any(%(queues)s::bigint[])
            and case when q.effective_limit is null then pg_try_advisory_xact_lock_shared(7105, q.id::int) end
    )::text, true)
