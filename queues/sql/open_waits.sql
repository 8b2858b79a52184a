-- What an execution waits for right now. Locks: none.
select w.key, w.kind, w.since, w.until, w.topic, cardinality(w.executions), w.executions[:10],
    coalesce(w.note::text, 'null')
from queues_execution e
join queues_wait w on w.execution_id = e.id and w.token = e.token and w.over_at is null
where e.id = %(id)s::uuid and e.status = 'waiting'
order by w.since, w.key
