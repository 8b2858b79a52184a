-- An execution that has not started gets another payload. With `quiet` (seconds) its start is pushed back, too, but no
-- further than `longest` after it was enqueued, and its deadlines with it.
-- Locks: the execution's row, which `lock_unfinished` has locked → its deadlines.
with replaced as (
    update queues_execution e
    set payload = %(payload)s::json, due_at = case
        when e.status = 'scheduled' and %(quiet)s::float8 is not null then least(
            now() + make_interval(secs => %(quiet)s::float8),
            e.enqueued_at + make_interval(secs => %(longest)s::float8))
        else e.due_at end
    where e.id = %(id)s::uuid and e.status in ('scheduled', 'queued', 'waiting') and e.claimed_at is null
    returning e.id, e.status, e.due_at
),
deadlines as (
    update queues_deadline d set at = r.due_at + make_interval(secs => d.seconds)
    from replaced r
    where d.execution_id = r.id and r.status = 'scheduled' and d.at is not null
)
select r.id from replaced r
