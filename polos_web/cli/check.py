from __future__ import annotations

import argparse

from .database import opened

HELP = "check configuration and database, and say in words what was found"


def add_arguments(command: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> int:
    with opened(migrated=False):
        from django.core import checks

        from ..migrating import pending

        missing = pending()
        complaints = checks.run_checks()
        for name, words in _findings(missing):
            print(f"{name:<12} {words}")
        for complaint in complaints:
            print(f"{'warning':<12} {complaint.msg}")
    print("Everything is in order." if not complaints else "See the warnings above.")
    return 1 if any(complaint.is_serious() for complaint in complaints) else 0


def _findings(missing: list[str]) -> list[tuple[str, str]]:
    from django.conf import settings
    from django.db import connection

    from queues.keys import local_mode_on

    from .. import people

    connection.ensure_connection()
    version = ".".join(map(str, divmod(connection.cursor().connection.info.server_version, 10000)))
    database = "from DATABASE_URL" if settings.DATABASE_URL else f"embedded, in {settings.POLOS_DATA_DIR}"
    schema = f"{len(missing)} migrations to apply: the next start does it" if missing else "up to date"
    keyless = settings.POLOS_LOCAL_MODE_ALLOWED if missing else local_mode_on()
    local = "on: workers on this machine need no API key" if keyless else "off: workers need an API key"
    return [
        ("address", people.base_url()),
        ("database", f"PostgreSQL {version}, {database}"),
        ("schema", schema),
        ("local mode", local),
    ]
