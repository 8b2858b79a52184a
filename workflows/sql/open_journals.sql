-- A journal for each execution that has none yet, as far as it runs under the given token. Locks: the new rows.
insert into workflows_journal (
    execution_id, token, seq, lines, first, progress_text, progress_attempt
)
select e.id, e.token, 0, 0, 1, '', 0
from unnest(%(ids)s::uuid[], %(tokens)s::uuid[]) as g (id, token)
join queues_execution e on e.id = g.id
where e.token = g.token and e.status in ('running', 'cancelling')
order by e.id
on conflict (execution_id) do nothing
