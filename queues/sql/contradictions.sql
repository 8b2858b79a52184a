-- Executions that contradict themselves, which no statement makes: final without an end or ended without being final,
-- held by nobody or by a claim that is over, scheduled for no time, counted below nothing. Locks: none.
select e.id, e.status
from queues_execution e
where (e.finished_at is not null) <> (e.status in ('completed', 'failed', 'cancelled'))
    or e.status in ('running', 'cancelling') and not (
        e.worker_id is not null and e.token is not null and e.claimed_at is not null and e.released_at is null
    )
    or e.status = 'scheduled' and e.due_at is null
    or least(e.attempt, e.max_attempts, e.losses, e.slot - 1, e.slot_generation, e.resumes) < 0
