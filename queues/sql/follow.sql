-- An execution that takes the place of one that is still stopping waits until that one has stopped.
-- Locks: its row and its key's, which this transaction has made.
with following as (
    update queues_deduplication k set after = %(after)s::uuid where k.execution_id = %(id)s::uuid
)
update queues_execution e set status = 'waiting'
where e.id = %(id)s::uuid and e.status in ('scheduled', 'queued')
