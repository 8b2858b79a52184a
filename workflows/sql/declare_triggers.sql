-- Takes over what a worker declared about events that start its workflows; declaring the same again writes nothing.
-- Locks: the rows of the triggers that change, in the order of their workflow.
insert into workflows_trigger as t (workflow, topic, batch_size, batch_timeout, declared_by, place, declared_at)
select g.workflow, g.topic, g.batch_size, g.batch_timeout, %(worker)s::text, g.place, now()
from unnest(
    %(ids)s::text[], %(topics)s::text[], %(batch_sizes)s::int[], %(batch_timeouts)s::float8[], %(places)s::text[]
) as g (workflow, topic, batch_size, batch_timeout, place)
order by g.workflow
on conflict (workflow) do update
set topic = excluded.topic, batch_size = excluded.batch_size, batch_timeout = excluded.batch_timeout,
    declared_by = excluded.declared_by, place = excluded.place, declared_at = excluded.declared_at
where (t.topic, t.batch_size, t.batch_timeout, t.declared_by, t.place)
    is distinct from (
        excluded.topic, excluded.batch_size, excluded.batch_timeout, excluded.declared_by, excluded.place
    )
