-- Deadlines of executions that the last insert of this transaction has added (only those have its moment): so many seconds
-- after they may start. Of an execution that was there already nothing changes. Locks: none.
insert into queues_deadline (execution_id, kind, seconds, at)
select e.id, g.kind, g.seconds, coalesce(e.due_at, e.enqueued_at) + make_interval(secs => g.seconds)
from unnest(%(ids)s::uuid[], %(kinds)s::text[], %(seconds)s::float8[]) as g (id, kind, seconds)
join queues_execution e on e.id = g.id and e.enqueued_at::text = current_setting('polos.moment', true)
on conflict do nothing
