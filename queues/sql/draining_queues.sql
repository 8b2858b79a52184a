-- Queues that take nothing new. From a partial index, as a rule empty. Locks: none.
select q.id from queues_queue q where q.draining
