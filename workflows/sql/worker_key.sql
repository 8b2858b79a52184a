-- The name of the API key under which a worker registered. Locks: none.
select w.key_name from queues_worker w where w.id = %(id)s::uuid
