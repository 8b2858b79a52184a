-- Third statement of a wake-up: an execution that waits goes back to its place as soon as one of the waits that its
-- last claim declared is over. A wait is no try, so the claim that follows is counted as given back.
-- Locks: execution rows, which `lock_waiting` has locked.
update queues_execution e
set status = 'queued', resumes = coalesce(e.resumes, 0) + 1, max_attempts = e.max_attempts + 1
where e.id = any(string_to_array(current_setting('polos.woken', true), ',')::uuid[])
    and case when e.status = 'waiting' then true end
    and exists (
        select from queues_wait w
        where w.execution_id = e.id and w.token = e.token and w.over_at is not null
    )
returning e.id, e.queue_id, e.workflow
