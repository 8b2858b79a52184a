-- Deletes ticks of these schedules that started nothing and are old. Locks: the deleted rows.
delete from workflows_tick t
where t.schedule_id = any(%(schedules)s::uuid[]) and t.execution_id is null and t.at < now() - interval '7 days'
