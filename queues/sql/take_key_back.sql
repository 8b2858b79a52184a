-- The execution that is tried again has its deduplication key again. Locks: its row.
update queues_deduplication k set holds = true, after = null where k.execution_id = %(id)s::uuid
