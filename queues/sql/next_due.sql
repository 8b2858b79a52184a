-- Seconds until the next scheduled execution or wait is due (null when none is), whether somebody waits for an
-- execution that is not its child, and the queues that take nothing new. Locks: none.
select
    (
        select extract(epoch from min(d.at) - clock_timestamp()) from (
            (select e.due_at as at from queues_execution e where e.status = 'scheduled' order by e.due_at limit 1)
            union all
            (
                select w.until from queues_wait w
                where w.over_at is null and w.until is not null
                order by w.until
                limit 1
            )
        ) as d
    ),
    exists (select from queues_wait w where w.over_at is null and w.strangers),
    array(select q.id from queues_queue q where q.draining)
