-- Deletes the oldest lines of executions, up to a number each, and notes what is the oldest that is kept.
-- Run after `lock_journals`. Locks: the deleted rows.
with trimmed as (
    update workflows_journal j
    set first = g.upto + 1
    from unnest(%(ids)s::uuid[], %(froms)s::int[], %(uptos)s::int[]) as g (id, oldest, upto)
    where j.execution_id = g.id
    returning j.execution_id, g.oldest, g.upto
)
delete from workflows_logline l
using trimmed t
where l.execution_id = t.execution_id and l.number between t.oldest and t.upto
