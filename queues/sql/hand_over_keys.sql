-- Executions give up the deduplication keys that they have. Locks: their keys' rows, which `take_keys` has locked.
update queues_deduplication k set holds = false where k.execution_id = any(%(ids)s::uuid[]) and k.holds
