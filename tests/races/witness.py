"""An exact account of what was held when, for tests of races: by the order of what happened, and not by any clock.

Triggers number each beginning and end of a hold, and each change of a limit or a pause, from one sequence. A claim
is numbered after it has looked; what it saw to be over was numbered before that was committed. A change has its
number under its locks: claims that did not see it are committed, and numbered; those that come see it. So each
claim can be held against the limit, and against what was held, when it was made, and nothing right is found wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.engine.crew import query

BEGIN = """
create table witness (
    n bigserial primary key, queue_id bigint not null, step int not null, "limit" int, execution_id uuid
);
create function witness_queue() returns trigger language plpgsql as $$ begin
    insert into witness (queue_id, step, "limit")
    values (new.id, 0, case when new.paused then 0 else new.effective_limit end);
    return null;
end $$;
create function witness_hold() returns trigger language plpgsql as $$ begin
    insert into witness (queue_id, step, execution_id) values (old.queue_id, tg_argv[0]::int, old.id);
    return null;
end $$;
create trigger witness_new after insert on queues_queue for each row execute function witness_queue();
create trigger witness_limit after update on queues_queue for each row
    when ((old.paused, old.effective_limit) is distinct from (new.paused, new.effective_limit))
    execute function witness_queue();
create trigger witness_begun after update on queues_execution for each row
    when (old.status not in ('running', 'cancelling') and new.status in ('running', 'cancelling'))
    execute function witness_hold('1');
create trigger witness_ended after update on queues_execution for each row
    when (old.status in ('running', 'cancelling') and new.status not in ('running', 'cancelling'))
    execute function witness_hold('-1');
create trigger witness_gone after delete on queues_execution for each row
    when (old.status in ('running', 'cancelling')) execute function witness_hold('-1');
insert into witness (queue_id, step, "limit")
    select id, 0, case when paused then 0 else effective_limit end from queues_queue;
"""
END = "drop table if exists witness; drop function if exists witness_queue, witness_hold cascade"
CLAIMS = """
select q.name, c.held::int, c.at_most, c.n, c.execution_id
from (
    select e.*, first_value(e."limit") over (partition by e.queue_id, e.era order by e.n) as at_most
    from (
        select w.*, sum(w.step) over (partition by w.queue_id order by w.n) as held,
            count(*) filter (where w.step = 0) over (partition by w.queue_id order by w.n) as era
        from witness w
    ) as e
) as c
join queues_queue q on q.id = c.queue_id
where c.step = 1 and c.at_most is not null
order by c.n
"""


@contextmanager
def witnessed(dsn: str) -> Iterator[None]:
    """Nothing may be held when it begins."""
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute(END.encode())
        db.execute(BEGIN.encode())
    try:
        yield
    finally:
        query(dsn, END)


def account(dsn: str) -> tuple[int, list[str]]:
    """How many claims there were under a limit, and those that were over it, each in a sentence."""
    claims = query(dsn, CLAIMS)
    over = [
        f"{name}: {id} was one of {held} at {n}, under a limit of {most}"
        for name, held, most, n, id in claims
        if held > most
    ]
    return len(claims), over
