-- Deletes what is left of people's visits: sessions that are over, one-time links and notes of sign-ins that are old.
-- Locks: the deleted rows.
with sessions as (
    delete from django_session s where s.expire_date < now()
),
links as (
    delete from queues_signinlink l where l.expires_at < now() - make_interval(days => %(days)s::int)
)
delete from axes_accesslog a where a.attempt_time < now() - make_interval(days => %(days)s::int)
