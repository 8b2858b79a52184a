-- Deletes what is known of stretches of time that ended before a moment. Locks: the deleted rows.
delete from queues_rollupstretch where until < %(before)s::bigint
