-- The payload of one execution as it was sent. Locks: none.
select coalesce(e.payload::text, 'null') from queues_execution e where e.id = %(id)s::uuid
