-- One worker's state, lease and last claims, a lane each, and how long ago those were. Locks: the worker's row.
select w.state, w.lease_until > clock_timestamp() as alive, w.claim_seq, w.claim_token,
    array[clock_timestamp() - w.claim_at[1], clock_timestamp() - w.claim_at[2]] as claimed_ago
from queues_worker w
where w.id = %(worker)s::uuid
for no key update
