-- Adds log lines and progress under the tokens of their claims. Lines are given claim after claim, each claim's from
-- `first` to `last`; those that its journal has already (a request that was repeated) are passed over. Returns the
-- journals of the claims that are not stale. Run after `lock_journals`. Locks: none beyond those.
with claim as materialized (
    select
        c.first, c.last, c.told, c.value, c.words, c.told_at, e.id, e.token, j.lines,
        e.attempt - coalesce(e.resumes, 0) as attempt,
        case when j.token = e.token then j.seq else 0 end as seq
    from unnest(
        %(ids)s::uuid[], %(tokens)s::uuid[], %(firsts)s::int[], %(lasts)s::int[], %(told)s::boolean[],
        %(values)s::float8[], %(words)s::text[], %(told_at)s::timestamptz[]
    ) as c (id, token, first, last, told, value, words, told_at)
    join queues_execution e on e.id = c.id
    join workflows_journal j on j.execution_id = c.id
    where e.token = c.token and e.status in ('running', 'cancelling')
),
line as (
    select
        c.id, c.attempt, c.lines + row_number() over (partition by c.id order by l.seq) as number,
        l.seq, l.level, l.at, l.text, l.fields
    from claim c
    cross join lateral unnest(
        (%(seqs)s::bigint[])[c.first:c.last], (%(levels)s::text[])[c.first:c.last],
        (%(times)s::timestamptz[])[c.first:c.last], (%(texts)s::text[])[c.first:c.last],
        (%(fields)s::text[])[c.first:c.last]
    ) as l (seq, level, at, text, fields)
    where l.seq > c.seq
),
stored as (
    insert into workflows_logline (execution_id, number, attempt, level, at, text, fields)
    select l.id, l.number, l.attempt, l.level, coalesce(l.at, clock_timestamp()), l.text, l.fields::json
    from line l
),
newest as (
    select l.id, max(l.number) as number, max(l.seq) as seq from line l group by l.id
)
update workflows_journal j
set token = c.token, seq = coalesce(n.seq, c.seq), lines = coalesce(n.number, c.lines),
    progress = case when c.told then c.value else j.progress end,
    progress_text = case when c.told then c.words else j.progress_text end,
    progress_at = case when c.told then coalesce(c.told_at, clock_timestamp()) else j.progress_at end,
    progress_attempt = case when c.told then c.attempt else j.progress_attempt end
from claim c
left join newest n on n.id = c.id
where j.execution_id = c.id
returning j.execution_id, j.token, j.lines, j.first
