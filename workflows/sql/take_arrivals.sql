-- These events have started what they start. Locks: the deleted rows.
delete from workflows_arrival a
where a.id = any(%(ids)s::bigint[])
