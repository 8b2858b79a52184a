-- When these schedules tick next. Locks: their rows, which the caller has locked.
update workflows_schedule s set next_at = g.next_at, ticked_at = g.ticked_at
from unnest(%(schedules)s::uuid[], %(nexts)s::timestamptz[], %(ticked)s::timestamptz[])
    as g (schedule_id, next_at, ticked_at)
where s.id = g.schedule_id
