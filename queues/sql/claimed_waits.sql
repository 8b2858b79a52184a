-- Of executions that begin another claim: how many of their claims went on after a wait, and the waits that are over.
-- Locks: none.
select e.id, e.resumes, w.key, w.kind, w.timed_out, coalesce(w.answer::text, 'null'), w.over_at
from queues_execution e
left join queues_wait w on w.execution_id = e.id and w.over_at is not null
where e.id = any(%(ids)s::uuid[]) and e.resumes is not null
