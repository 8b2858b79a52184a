-- Whether this worker may still hold anything. Locks: none.
select exists (
    select from queues_worker w where w.id = %(worker)s::uuid and w.state in ('alive', 'draining')
)
