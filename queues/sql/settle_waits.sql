-- Second statement of a wake-up: which waits of these executions are over, because their time has come, all that they
-- are for is final, or their event is there. What is there counts before the time-out.
-- left: the first execution that is not final yet, as its number in the list. The list is walked from where it was
--       left off, and no further than that one. Each is looked up in a subquery of its own, which keeps the order.
-- Locks: wait rows, in the order of (execution, key).
with open as (
    select w.id, w.kind, w.topic, w.since, w.until, w.executions, w.seen
    from queues_wait w
    where w.execution_id = any(string_to_array(current_setting('polos.woken', true), ',')::uuid[]) and w.over_at is null
    order by w.execution_id, w.key
    for no key update
),
looked as (
    select o.id, o.kind, o.seen, o.until <= clock_timestamp() as due, v.event_id, case when o.kind = 'executions' then (
        select a.n
        from (
            select unnest(o.executions[o.seen + 1:]) as id,
                generate_series(o.seen + 1, cardinality(o.executions)) as n
        ) as a
        where (select true from queues_execution e where e.id = a.id and e.finished_at is null)
        limit 1
    ) end as left
    from open o
    left join lateral (
        select v.id as event_id from queues_event v
        where o.kind = 'event' and v.topic = o.topic and v.published_at >= o.since
        order by v.published_at, v.id
        limit 1
    ) as v on true
),
judged as (
    select l.*, case l.kind
        when 'time' then l.due
        when 'executions' then l.left is null
        else l.event_id is not null end as there
    from looked l
)
update queues_wait w
set over_at = case when j.there or j.due then clock_timestamp() end,
    timed_out = not j.there and coalesce(j.due, false), event_id = j.event_id, seen = coalesce(j.left - 1, w.seen)
from judged j
where w.id = j.id and (j.there or j.due or j.left - 1 >= w.seen + 16)
