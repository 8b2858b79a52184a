-- What tells whether there is news of the executions that somebody follows. Locks: none.
select e.id, e.status, e.attempt - coalesce(e.resumes, 0), coalesce(j.lines, 0), j.progress_at
from unnest(%(ids)s::uuid[]) as g (id)
join queues_execution e on e.id = g.id
left join workflows_journal j on j.execution_id = e.id
