-- Events that were deleted, because they are old, start nothing any more, and neither do those of a trigger that is
-- gone. Locks: the deleted rows.
delete from workflows_arrival a
where a.at < now() - interval '1 day' and (
    not exists (select from queues_event v where v.id = a.event_id)
    or not exists (select from workflows_trigger t where t.id = a.trigger_id)
)
