-- Keys of executions that were not added after all. Locks: their rows, which `take_keys` has made.
delete from queues_deduplication k where k.execution_id = any(%(ids)s::uuid[])
