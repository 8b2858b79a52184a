-- One worker's state, lease and last claim. Locks: the worker's row.
select w.state, w.lease_until > clock_timestamp() as alive, w.claim_seq, w.claim_token, w.claim_at
from queues_worker w
where w.id = %(worker)s::uuid
for no key update
