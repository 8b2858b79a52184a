-- Notes from which place on a pick has to look, for these (queue, workflow) pairs: `place` is no later than that of
-- any queued execution that came fresh and was never claimed; one that came back to its place is in the index
-- `execution_early`, wherever that place is. So a pick does not walk the entries of all that was queued before,
-- which stay for as long as a transaction somewhere keeps vacuum from removing them.
-- settled: every transaction that may have added something before `candidate` has ended, and what it added is seen
--          here. What is added fresh has a place later than the moment in which its transaction got its number
--          (`enqueue`). So it lies before the candidate only if that number is lower than the one of the transaction that
--          noted the candidate, as it began. One that commits a minute after that does not exist: what has done nothing for
--          so long is somebody else's, who forgot it, and not waited for. That is seen of sessions of the same role, or with
--          the rights to see all; of others the minute has to go by.
-- The second is for clocks: one that is set back, and that of another machine, which took over. `sink_floors` checks.
-- Locks: floors, skipping locked ones.
with given as (
    select * from unnest(%(queues)s::bigint[], %(workflows)s::text[]) as g (queue_id, workflow)
),
settled as materialized (
    select f.id, f.place, f.candidate
    from given g
    join queues_floor f on f.queue_id = g.queue_id and f.workflow = g.workflow
    where f.candidate_xid <= pg_snapshot_xmin(pg_current_snapshot())
        or f.candidate < now() - interval '1 minute'
        or not exists (
            select from pg_snapshot_xip(pg_current_snapshot()) as x (id)
            where x.id < f.candidate_xid and not exists (
                select from pg_stat_activity a
                where a.backend_xid = x.id::xid and a.state_change < now() - interval '1 minute'
            )
        )
    for no key update of f skip locked
),
raised as (
    update queues_floor f
    set place = least(s.candidate, (
            select x.place from queues_execution x
            where x.queue_id = f.queue_id and x.workflow = f.workflow and x.status = 'queued' and x.place >= s.place
            order by x.place, x.id
            limit 1
        )),
        candidate = now() - interval '1 second', candidate_xid = pg_current_xact_id()
    from settled s
    where f.id = s.id
)
insert into queues_floor (queue_id, workflow, place, candidate, candidate_xid)
select g.queue_id, g.workflow, '-infinity', now() - interval '1 second', pg_current_xact_id()
from given g
where not exists (select from queues_floor f where f.queue_id = g.queue_id and f.workflow = g.workflow)
on conflict do nothing
