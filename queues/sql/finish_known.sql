-- What became of results that `finish` did not take: a repeat (the same claim ended with the same outcome
-- before; the reply was lost) is as good as taken. Locks: none.
select e.id
from unnest(%(ids)s::uuid[], %(tokens)s::uuid[], %(outcomes)s::text[]) as g (id, token, outcome)
join queues_execution e on e.id = g.id
where e.token = g.token and e.outcome = g.outcome and e.released_at is not null
