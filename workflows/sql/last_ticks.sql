-- The last ticks of schedules, the newest first, with the status of what they started. Locks: none.
select t.schedule_id, t.at, t.outcome, t.note, t.by, t.execution_id, e.status
from unnest(%(schedules)s::uuid[]) as s (id)
cross join lateral (
    select k.schedule_id, k.at, k.outcome, k.note, k.by, k.execution_id
    from workflows_tick k
    where k.schedule_id = s.id
    order by k.at desc
    limit %(most)s::int
) as t
left join queues_execution e on e.id = t.execution_id
order by t.schedule_id, t.at desc
