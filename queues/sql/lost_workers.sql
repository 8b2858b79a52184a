-- Workers whose lease is over become `lost`. What they hold is taken back in the next statement.
-- Locks: worker rows, skipping locked ones: those are being renewed right now.
with gone as (
    select w.id from queues_worker w
    where w.state in ('alive', 'draining') and w.lease_until < clock_timestamp()
    order by w.id
    limit %(most)s::int
    for no key update skip locked
)
update queues_worker w set state = 'lost', left_at = clock_timestamp()
from gone g
where w.id = g.id
returning w.id
