-- Deletes lines of executions that are gone, at most `most` at once; how many. Locks: their journals, skipping locked
-- ones, and the deleted rows.
with gone as (
    select j.execution_id from workflows_journal j where j.gone limit 100 for update skip locked
),
few as (
    select g.execution_id, l.number
    from gone g
    join workflows_logline l on l.execution_id = g.execution_id
    limit %(most)s::int
),
deleted as (
    delete from workflows_logline l
    using few f
    where l.execution_id = f.execution_id and l.number = f.number
    returning l.number
)
select count(*) from deleted
