-- First statement of a wake-up: locks the executions that wait, and does nothing else, so that the next ones see what
-- whoever held them did; those look at all that are given (see `lock_parents`).
-- Locks: execution rows, in the order of their id.
select set_config('polos.woken', array_to_string(%(ids)s::uuid[], ','), true), (
    select count(*) from (
        select e.id
        from queues_execution e
        where e.id = any(%(ids)s::uuid[]) and case when e.status = 'waiting' then true end
        order by e.id
        for no key update
    ) as l
)
