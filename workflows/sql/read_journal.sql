-- Where the log of an execution stands, and its progress. Locks: none.
select j.lines, j.first, j.progress, j.progress_text, j.progress_at, j.progress_attempt
from workflows_journal j
where j.execution_id = %(id)s::uuid
