-- One worker's state, lease and last claim, and how long ago that was. Locks: the worker's row.
select w.state, w.lease_until > clock_timestamp() as alive, w.claim_seq, w.claim_token,
    clock_timestamp() - w.claim_at as claimed_ago
from queues_worker w
where w.id = %(worker)s::uuid
for no key update
