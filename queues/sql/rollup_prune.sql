-- Deletes rows of history of one length that began before a moment. Locks: the deleted rows.
delete from queues_rollup where seconds = %(seconds)s::int and start < %(before)s::bigint
