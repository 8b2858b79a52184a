-- Takes back what these workers hold: after their lease (`lost`), on their leaving, or because they never heard
-- of the claim (`released`). It goes back to its place; what was to be cancelled is cancelled (or failed, when its
-- time was over); what was lost too often is failed, so that an execution that kills its workers does not do so for
-- ever.
-- Locks: execution rows, in the order of their id, skipping locked ones: those are being finished right now.
with lost as (
    select e.id, case
        when e.status = 'cancelling' and e.error is not null then 'failed'
        when e.status = 'cancelling' then 'cancelled'
        when %(outcome)s::text = 'lost' and e.losses + 1 >= %(max_losses)s::int then 'failed'
        else 'queued' end as status
    from queues_execution e
    where e.status in ('running', 'cancelling')
        and e.worker_id = any(%(workers)s::uuid[])
        and (%(token)s::uuid is null or e.token = %(token)s::uuid)
        and (%(execution)s::uuid is null or e.id = %(execution)s::uuid)
    order by e.id
    for no key update skip locked
)
update queues_execution e
set status = l.status, outcome = %(outcome)s::text, released_at = clock_timestamp(),
    losses = e.losses + (%(outcome)s::text = 'lost')::int, max_attempts = e.max_attempts + 1,
    finished_at = case when l.status in ('cancelled', 'failed') then clock_timestamp() end,
    error = case when e.error is not null then e.error when %(outcome)s::text = 'lost' then json_build_object(
        'type', 'WorkerLost', 'reason', 'worker_lost', 'message', concat(
            'The worker stopped answering and its lease ended.', case when l.status = 'failed' then
            ' That has happened ' || e.losses + 1 || ' times by now, so it is not started again.' end)) end
from lost l
where e.id = l.id and e.status in ('running', 'cancelling')
returning e.id, e.queue_id, e.status, e.parent_id
