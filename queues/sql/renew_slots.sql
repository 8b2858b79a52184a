-- Gives the slots of locked queues the next generation, in a transaction of its own before a claim. What is held takes it
-- along, so that everything held on a queue has its generation at every commit: the index `execution_slot` begins
-- with it, and a claim finds what is held without walking the entries of all that was held before, which stay for as
-- long as a transaction somewhere keeps vacuum from removing them.
-- Locks: the queues are locked already (those that are not are left alone); execution rows, in the order of their id.
with renewed as (
    update queues_queue q set slot_generation = q.slot_generation + 1
    where q.id = any(%(queues)s::bigint[])
        and q.id = any(current_setting('polos.locked')::bigint[])
    returning q.id, q.slot_generation
),
found as materialized (
    select e.id, r.slot_generation
    from renewed r
    cross join lateral ( -- a plain join walks the whole index, which looks as small as what is alive in it
        select x.id from queues_execution x
        where x.queue_id = r.id and x.slot_generation = r.slot_generation - 1
            and x.status in ('running', 'cancelling')
        offset 0
    ) as e
),
held as materialized (
    select e.id, f.slot_generation
    from found f
    join queues_execution e on e.id = f.id and case when e.status in ('running', 'cancelling') then true end
    order by e.id
    for no key update of e
)
update queues_execution e set slot_generation = h.slot_generation
from held h
where e.id = h.id
