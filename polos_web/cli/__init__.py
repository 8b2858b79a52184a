"""The command `polos-server`. What a person can put right is said in one sentence, without a traceback."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from dotenv import load_dotenv

from ..problems import Problem

COMMANDS = ("start", "check", "migrate", "createadmin", "createkey", "signin-link")
FAILED = 1
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # until the server has its own, tidy up as for Ctrl-C
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polos_web.settings")
    load_dotenv(os.path.join(os.getcwd(), ".env"))
    options = _parser().parse_args(arguments)
    try:
        sys.exit(_run(options))
    except Problem as problem:
        print(f"polos-server: {problem}", file=sys.stderr)
        sys.exit(FAILED)
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _run(options: argparse.Namespace) -> int:
    from django.db import Error

    from ..migrating import first_line

    if options.data_dir:
        os.environ["POLOS_DATA_DIR"] = options.data_dir
    run: Callable[[argparse.Namespace], int | None] = options.run
    try:
        return run(options) or 0
    except Error as error:
        raise Problem(f"The database refuses: {first_line(error)}.") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="polos-server", description="Shared queues that hold their limits.")
    parser.add_argument("--version", action="version", version=_version())
    commands: Any = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f".{name.replace('-', '_')}", __package__)
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        command.add_argument("--data-dir", metavar="FOLDER", help="where the data lives (POLOS_DATA_DIR)")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return f"polos-server {version('polos-web')}"
