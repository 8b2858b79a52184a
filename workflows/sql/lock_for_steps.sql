-- The executions that still run under the given tokens, locked, so that none ends while its steps are saved.
-- Locks: execution rows, in the order of their id.
select e.id, e.token, e.attempt - coalesce(e.resumes, 0)
from unnest(%(ids)s::uuid[], %(tokens)s::uuid[]) as g (id, token)
join queues_execution e on e.id = g.id
where e.token = g.token and e.status in ('running', 'cancelling')
order by e.id
for no key update of e
