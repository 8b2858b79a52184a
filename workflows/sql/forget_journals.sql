-- Deletes journals of executions that are gone, once they have no lines; how many. Locks: the deleted rows, skipping
-- locked ones.
with few as (
    select j.execution_id
    from workflows_journal j
    where j.gone and not exists (select from workflows_logline l where l.execution_id = j.execution_id)
    limit %(most)s::int
    for update skip locked
),
deleted as (
    delete from workflows_journal j using few f where j.execution_id = f.execution_id returning j.execution_id
)
select count(*) from deleted
