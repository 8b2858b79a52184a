"""The list of executions over millions of rows, not part of the suite.

`python -m tests.benchmarks.search --data /tmp/many --fill` makes a PostgreSQL with 10 million executions of the
last 30 days (three minutes, 6 GB); without `--fill` it asks for the list as a signed-in operator would, inside
this process, and says how long the server took. Delete the folder afterwards.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import psycopg

QUEUES, WORKFLOWS, WORKERS, WAITING, BATCH = 2_000, 40, 50, 100_000, 500_000

LINES = (
    "",
    "status:failed",
    "status:completed",
    "status:running",
    "status:queued",
    "status:queued queue:team-00/queue-0000",
    "queue:team-01/queue-0001",
    "queue:team-19/queue-1999",
    "queue:team-19/*",
    "status:failed queue:team-03/*",
    "workflow:workflow-07",
    "worker:worker-07",
    "since:2h status:failed",
    "before:7d status:failed",
    "error:timeout since:2h",
    "payload.user_id:42",
    "payload.user_id:999999999",
    "workflow:nowhere",
)

SETUP = f"""
insert into queues_queue (name, declared_limit, overridden, override_reason, override_by, declared_by, paused,
    paused_reason, paused_by, version, created_at)
select format('team-%%s/queue-%%s', lpad((n %% 20)::text, 2, '0'), lpad(n::text, 4, '0')), 20, false, '', '', '',
    false, '', '', 1, now()
from generate_series(0, {QUEUES - 1}) n;
insert into queues_worker (id, name, host, sdk_version, max_concurrent, state, key_name, registered_at,
    heartbeat_at, lease_until, claim_seq)
select lpad(n::text, 32, '0')::uuid, format('worker-%%s', lpad(n::text, 2, '0')), '', '', 100, 'alive', '',
    now() - interval '30 days', now(), now() + interval '1 day', array[0, 0]
from generate_series(0, {WORKERS - 1}) n;
"""

# Queues are chosen unevenly: half of the executions are on the first of them, the last ones have a handful.
ROWS = f"""
with drawn as (
    select n, random() as r, random() as u, random() as v,
        date_trunc('milliseconds', now() - interval '30 days' * (1 - n / %(rows)s::float8)) as at
    from generate_series(%(first)s::bigint, %(last)s::bigint) n
),
named as (
    select *, floor({QUEUES} * power(u, 8))::int as queue,
        case when n > %(rows)s::bigint - {WAITING} and n %% 2 = 0 then 'queued'
            when n > %(rows)s::bigint - 2000 then 'running'
            when r < 0.03 then 'failed' when r < 0.04 then 'cancelled' else 'completed' end as status
    from drawn
)
insert into queues_execution (
    id, queue_id, workflow, status, place, priority, enqueued_at, payload, result, error, attempt, max_attempts,
    losses, worker_id, token, claimed_at, released_at, outcome, finished_at, cancel_by
)
select
    (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n %% 4096), 3, '0')
        || '8' || left(md5(n::text), 15))::uuid,
    (select min(id) from queues_queue) + queue, format('workflow-%%s', lpad((n %% {WORKFLOWS})::text, 2, '0')),
    status, at, 0, at,
    format('{{"user_id": %%s, "order": {{"id": %%s, "total": %%s}}, "email": "user%%s@example.com"}}',
        (n * 7919) %% 100000, n, round((100 * v)::numeric, 2), n %% 100000)::json,
    case when status = 'completed' then '{{"ok": true}}'::json end,
    case when status = 'failed' then format(
        '{{"type": "%%s", "message": "the call ended after %%s s", "traceback": "Traceback"}}',
        case when n %% 3 = 0 then 'Timeout' else 'ConnectionRefused' end, n %% 60)::json end,
    case when status = 'queued' then 0 else 1 end, 1, 0,
    case when status <> 'queued' then lpad((n %% {WORKERS})::text, 32, '0')::uuid end,
    case when status <> 'queued' then md5(n::text)::uuid end,
    case when status <> 'queued' then at + interval '1 second' * v end,
    case when status not in ('queued', 'running') then at + interval '10 seconds' * v end,
    case when status in ('queued', 'running') then '' else status end,
    case when status not in ('queued', 'running') then at + interval '10 seconds' * v end, ''
from named
"""


def main() -> int:
    options = _parser().parse_args()
    os.environ |= {"POLOS_DATA_DIR": str(options.data), "DATABASE_URL": ""}
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polos_web.settings")
    import django

    from polos_web.embedded import EmbeddedPostgres

    django.setup()
    fast = {"fsync": "off", "max_wal_size": "8GB", "maintenance_work_mem": "512MB", "checkpoint_timeout": "30min"}
    with EmbeddedPostgres(options.data, settings=fast if options.fill else {}).running():
        if options.fill:
            _fill(options.rows)
        else:
            _measure(options.rounds, options.lines or LINES)
    return 0


# -- ten million rows --------------------------------------------------------------------------------


def _fill(rows: int) -> None:
    from django.conf import settings

    from polos_web import migrating

    migrating.migrate()
    with psycopg.connect(settings.POLOS_DSN, autocommit=True) as db:
        indexes = db.execute(
            "select indexname::text, indexdef from pg_indexes"
            " where tablename = 'queues_execution' and indexname !~ 'pkey'"
        ).fetchall()
        for name, _ in indexes:
            db.execute(f'drop index "{name}"'.encode())
        db.execute(SETUP.replace("%%", "%").encode())
        for first in range(0, rows, BATCH):
            began = time.monotonic()
            db.execute(ROWS.encode(), {"rows": rows, "first": first + 1, "last": min(rows, first + BATCH)})
            _say(f"{min(rows, first + BATCH):,} rows, the last {BATCH:,} in {time.monotonic() - began:.0f} s")
        for _, definition in indexes:
            db.execute(definition.encode())
        db.execute("vacuum analyze")


# -- how long the pages take -------------------------------------------------------------------------


def _measure(rounds: int, lines: Any) -> None:
    client = _operator()
    _say(f"{'search':45} {'p50':>7} {'p95':>7} {'queries':>8} {'bytes':>8}")
    for line in lines:
        _ask(client, line)
        took, queries, size = [], 0, 0
        for _ in range(rounds):
            began = time.perf_counter()
            size, queries = _ask(client, line)
            took.append(1000 * (time.perf_counter() - began))
        took.sort()
        p95 = took[min(len(took) - 1, int(0.95 * len(took)))]
        _say(f"{line or '(everything)':45} {statistics.median(took):7.0f} {p95:7.0f} {queries:8} {size:8,}")


def _operator() -> Any:
    from django.conf import settings
    from django.contrib.auth.models import Group, User
    from django.test import Client

    settings.ALLOWED_HOSTS = ["*"]
    person, _ = User.objects.get_or_create(username="benchmark")
    person.groups.set([Group.objects.get(name="operator")])
    client = Client()
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def _ask(client: Any, line: str) -> tuple[int, int]:
    from django.db import connection, reset_queries
    from django.test.utils import CaptureQueriesContext

    reset_queries()  # it keeps 9,000
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/executions", {"q": line} if line else {})
    assert response.status_code == 200, response.status_code
    return len(response.content), len(queries)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--data", type=Path, required=True, help="a folder for the database, kept afterwards")
    parser.add_argument("--fill", action="store_true", help="make the rows; without it, measure")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("lines", nargs="*", help="searches to measure instead of the usual ones")
    return parser


if __name__ == "__main__":
    sys.exit(main())
