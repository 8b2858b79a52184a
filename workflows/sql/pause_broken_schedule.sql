-- A schedule that cannot be worked out any more waits for a person. Locks: its row, which the caller has locked.
update workflows_schedule s
set paused = true, paused_by = 'polos', paused_reason = %(reason)s::text, paused_at = now(), next_at = null
where s.id = %(id)s::uuid
