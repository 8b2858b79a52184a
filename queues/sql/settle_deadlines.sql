-- Deadlines that are over and have nothing left to end. A retry by hand sets them again, and who runs it again takes
-- them over, so only those of executions that are gone are deleted. Returns how many were settled.
-- Locks: deadlines, skipping locked ones.
with over as (
    select d.execution_id, d.kind, e.id is null as is_gone
    from queues_deadline d
    left join queues_execution e on e.id = d.execution_id
    where d.at <= now() and not coalesce(
        e.status in ('scheduled', 'queued', 'waiting', 'running') and case d.kind
            when 'queue' then e.status <> 'running'
                and (e.claimed_at is null or e.claimed_at < d.at - make_interval(secs => d.seconds))
            else true end, false)
    order by d.at
    limit %(most)s::int
    for update of d skip locked
),
gone as (
    delete from queues_deadline d using over o
    where (d.execution_id, d.kind) = (o.execution_id, o.kind) and o.is_gone
),
kept as (
    update queues_deadline d set at = null from over o
    where (d.execution_id, d.kind) = (o.execution_id, o.kind) and not o.is_gone
)
select count(*)::int from over
