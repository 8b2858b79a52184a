-- Log lines of one execution after a number, oldest first, of these levels; `most` and one more. Locks: none.
select l.number, l.attempt, l.level, l.at, l.text, coalesce(l.fields::text, 'null')
from workflows_logline l
where l.execution_id = %(id)s::uuid and l.number > %(after)s::bigint and l.level = any(%(levels)s::text[])
order by l.number
limit %(most)s::int + 1
