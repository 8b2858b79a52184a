-- Records a change of a declared limit in the trail. Locks: none.
insert into queues_change (queue_id, at, kind, before, after, actor, reason, through)
values (
    %(queue)s::bigint, now(), 'declared', %(before)s::text, %(after)s::text, %(actor)s::text, %(reason)s::text,
    'worker'
)
