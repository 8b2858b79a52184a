-- Ends executions whose deadline of this kind is over. What has not started fails at once. What runs is asked to stop,
-- as by a cancel, and its error is written already: that is what `finish` and `release_held` end it with.
-- The queue's deadline is kept by the first start since it began (at − seconds). What an earlier claim ended with is
-- copied to the holdings, as by the next claim, because the row has only one error.
-- Locks: execution rows, in the order of their id, skipping locked ones: those are found again by the next sweep.
with over as (
    select e.id, e.queue_id, e.status, e.attempt, e.worker_id, e.slot, e.claimed_at, e.released_at, e.outcome, e.error,
        d.seconds, e.status <> 'running' and e.released_at is not null as copies
    from (
        select * from queues_deadline
        where at <= now() and kind = %(kind)s::text
        order by at
        limit %(most)s::int
    ) as d
    join queues_execution e on e.id = d.execution_id
    where e.status in ('scheduled', 'queued', 'waiting', 'running') and case d.kind
        when 'queue' then e.status <> 'running'
            and (e.claimed_at is null or e.claimed_at < d.at - make_interval(secs => d.seconds))
        else true end
    order by e.id
    for no key update of e skip locked
),
earlier as (
    insert into queues_holding (
        execution_id, queue_id, attempt, worker_id, slot, claimed_at, released_at, outcome, error
    )
    select o.id, o.queue_id, o.attempt, o.worker_id, o.slot, o.claimed_at, o.released_at, o.outcome, o.error
    from over o
    where o.copies
)
update queues_execution e
set status = case when o.status = 'running' then 'cancelling' else 'failed' end,
    finished_at = case when o.status = 'running' then null else clock_timestamp() end,
    due_at = null, worker_id = case when not o.copies then e.worker_id end,
    slot = case when not o.copies then e.slot end, token = case when not o.copies then e.token end,
    claimed_at = case when not o.copies then e.claimed_at end, released_at = null, outcome = '',
    error = case %(kind)s::text
        when 'queue' then json_build_object(
            'type', 'QueueTimeout', 'reason', 'queue_timeout', 'message',
            'It waited in the queue for more than ' || o.seconds || ' s, its queue timeout.')
        else json_build_object(
            'type', 'ExecutionTimeout', 'reason', 'execution_timeout', 'message',
            'It was not finished after ' || o.seconds || ' s, its execution timeout.') end
from over o
where e.id = o.id and e.status = o.status
returning e.id, e.queue_id, e.status, e.parent_id, e.worker_id
