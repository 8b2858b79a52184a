-- Takes deduplication keys for executions that are about to be added: a key that nobody has becomes theirs, of the others
-- whoever has it is returned. Either way nobody else decides about the key until the end of this transaction.
-- Locks: rows of keys, in the order of queue, workflow and key.
insert into queues_deduplication as k (execution_id, queue_id, workflow, key, holds)
select g.execution_id, g.queue_id, g.workflow, g.key, true
from unnest(%(ids)s::uuid[], %(queues)s::bigint[], %(workflows)s::text[], %(keys)s::text[])
    as g (execution_id, queue_id, workflow, key)
order by g.queue_id, g.workflow, g.key
on conflict (queue_id, workflow, key) where holds do update set holds = true
returning k.queue_id, k.workflow, k.key, k.execution_id
