-- What `lock_waiting` does, in the transaction that ends children: who is locked is left to the look after the commit.
-- Which are ours is kept in a setting of the transaction, where the next two statements find them: this transaction has
-- locked children, and must not wait for a parent whose holder may wait for one of those.
-- Locks: execution rows, in the order of their id, skipping locked ones.
select set_config('polos.woken', coalesce((
    select string_agg(l.id::text, ',') from (
        select e.id
        from queues_execution e
        where e.id = any(%(ids)s::uuid[]) and case when e.status = 'waiting' then true end
        order by e.id
        for no key update skip locked
    ) as l
), ''), true)
