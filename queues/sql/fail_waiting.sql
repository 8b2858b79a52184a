-- An execution that waits for itself fails: it could never go on. Locks: the execution's row.
update queues_execution e
set status = 'failed', finished_at = clock_timestamp(), error = %(error)s::json
where e.id = %(id)s::uuid and case when e.status = 'waiting' then true end
returning e.id, e.queue_id, e.status, e.parent_id
