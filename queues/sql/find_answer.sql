-- Why an answer was not taken: what became of the wait, and whether the answer is the same. Locks: none.
select e.status, w.kind, w.timed_out, w.answered_by, w.over_at is not null and w.answer::text = %(data)s::text as same
from queues_execution e
left join queues_wait w on w.execution_id = e.id and w.key = %(key)s::text
where e.id = %(id)s::uuid
