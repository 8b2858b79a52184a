-- Of executions that begin another claim: how many of their claims went on after a wait, and the waits that are over,
-- with their event or answer. Locks: none.
select e.id, e.resumes, w.key, w.kind, w.timed_out, w.over_at, coalesce(w.answer::text, (
    select json_build_object(
        'id', v.id, 'topic', v.topic, 'payload', v.payload,
        'published_at', to_char(v.published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    )::text
    from queues_event v
    where v.id = w.event_id
), 'null')
from queues_execution e
left join queues_wait w on w.execution_id = e.id and w.over_at is not null
where e.id = any(%(ids)s::uuid[]) and e.resumes is not null
