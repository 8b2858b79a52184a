-- Notes what executions wait for, after `finish` in the same transaction: those that it ended otherwise, or did not
-- find, get nothing. A key that is there already keeps its beginning, its deadline and its answer, and counts as
-- declared by this claim. Locks: wait rows, in the order of (execution, key); the execution rows are locked already.
insert into queues_wait as w (
    execution_id, key, kind, token, since, until, executions, seen, topic, note, timed_out, answered_by
)
select distinct on (e.id, g.key)
    e.id, g.key, g.kind, e.token, coalesce(g.since + interval '1 microsecond', b.begun),
    coalesce(g.until, b.begun + make_interval(secs => g.seconds)),
    g.executions::uuid[], 0, g.topic, g.note::json, false, ''
from unnest(
    %(ids)s::uuid[], %(tokens)s::uuid[], %(keys)s::text[], %(kinds)s::text[], %(untils)s::timestamptz[],
    %(seconds)s::float8[], %(waited)s::float8[], %(sinces)s::timestamptz[], %(executions)s::text[],
    %(topics)s::text[], %(notes)s::text[]
) as g (id, token, key, kind, until, seconds, waited, since, executions, topic, note)
cross join lateral (select clock_timestamp() - make_interval(secs => g.waited) as begun) as b
join queues_execution e
    on e.id = g.id and e.token = g.token and case when e.status = 'waiting' then true end
order by e.id, g.key
on conflict (execution_id, key) do update set token = excluded.token
