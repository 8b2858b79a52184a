-- Locks one queue for a change of its limit: claims on an unlimited queue hold the advisory lock shared, so the
-- change waits for them; claims on a limited one hold the row. What the row says is read in the next statement.
-- Locks: the queue's advisory lock, exclusively.
select pg_advisory_xact_lock(7105, %(queue)s::int)
