-- One page of events, newest first, ended early where payloads grow over `bytes`. The last column is how many the page
-- would have had without that; one more than `most` is looked for. Locks: none.
with page as (
    select v.id, v.topic, v.payload::text as payload, v.published_at, v.published_by
    from queues_event v
    where (%(topic)s::text is null or v.topic = %(topic)s::text)
        and (%(topics)s::text[] is null or v.topic like any(%(topics)s::text[]))
        and (%(at)s::timestamptz is null or (v.published_at, v.id) < (%(at)s::timestamptz, %(id)s::uuid))
    order by v.published_at desc, v.id desc
    limit %(most)s::int + 1
),
sized as (
    select p.*, count(*) over () as found, row_number() over newest as n, sum(length(p.payload)) over newest as bytes
    from page p
    window newest as (order by p.published_at desc, p.id desc)
)
select s.id, s.topic, s.payload, s.published_at, s.published_by, s.found
from sized s
where s.n <= %(most)s::int and (s.n = 1 or s.bytes <= %(bytes)s::bigint)
order by s.published_at desc, s.id desc
