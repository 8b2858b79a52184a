-- Whether somebody has ever made a key (the demo's own does not count): then local mode is over. Locks: none.
select exists (select from queues_apikey where not demo)
