-- Seconds until the next deadline, negative when it is over; null when there is none. Locks: none.
select extract(epoch from min(d.at) - clock_timestamp())::float8 from queues_deadline d where d.at is not null
