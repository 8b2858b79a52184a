from __future__ import annotations

import argparse

from .database import opened

HELP = "bring the database's schema up to date"


def add_arguments(command: argparse.ArgumentParser) -> None:
    pass


def run(options: argparse.Namespace) -> None:
    with opened(migrated=False):
        from ..migrating import migrate

        applied = migrate()
    print("\n".join(f"applied {name}" for name in applied) or "The schema is up to date.")
