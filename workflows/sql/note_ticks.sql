-- Notes what came of ticks; one that is noted already stays as it is. Locks: none that wait, but for rows of the same
-- schedule and time, whose schedule the caller has locked.
insert into workflows_tick (schedule_id, at, outcome, note, by, execution_id, open)
select g.schedule_id, g.at, g.outcome, g.note, '', g.execution_id, g.execution_id is not null
from unnest(
    %(schedules)s::uuid[], %(ats)s::timestamptz[], %(outcomes)s::text[], %(notes)s::text[], %(executions)s::uuid[]
) as g (schedule_id, at, outcome, note, execution_id)
on conflict do nothing
