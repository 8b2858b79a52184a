from __future__ import annotations

import argparse

from ..problems import Problem
from .database import opened

HELP = "make an API key for workers and clients, and print it once"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", help="so that people can tell keys apart")
    command.add_argument("--scope", choices=("full", "enqueue", "work"), default="full")
    command.add_argument(
        "--queues", metavar="PATTERN", nargs="+", default=[], help='only these queues, e.g. "billing/*"'
    )


def run(options: argparse.Namespace) -> None:
    with opened():
        from queues import keys

        losing = keys.warn_on_first_key()
        try:
            _, text = keys.create_key(
                name=options.name, scope=options.scope, patterns=options.queues, created_by="command line"
            )
        except keys.BadKey as error:
            raise Problem(str(error)) from None
    print(f"Key {options.name}, shown only now:\n\n  {text}\n\nWorkers and clients read it from POLOS_API_KEY.")
    if losing:
        print(f"Local mode is over. These workers have no key and lose access: {', '.join(losing)}.")
