-- A wake-up for all servers, sent with the commit. Locks: none.
select pg_notify('polos_wake', %(payload)s::text)
