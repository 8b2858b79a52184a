"""The command `polos`: serves workflows, starts executions, and shows what queues and executions do."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from .._errors import Forbidden, PolosError, RequestRefused, ServerUnavailable, Unauthorized
from .._loop import loop_factory
from .._version import __version__
from . import cancel, events, executions, logs, publish, queues, rerun, resume, retry, run, schedules, worker

COMMANDS = (
    worker, run, queues, executions, logs, resume, cancel, retry, rerun, schedules, publish, events,
)  # fmt: skip
INTERRUPTED = 130
HINTS: dict[type[PolosError], str] = {
    ServerUnavailable: "Is it running (`polos-server start`)? POLOS_API_URL or --api-url says where to look.",
    Unauthorized: "`polos-server createkey NAME` makes one, on the server; give it in POLOS_API_KEY.",
    Forbidden: "An admin makes keys that may do more: `polos-server createkey`.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 done, 1 it failed (and why on stderr), 2 it was called wrongly, 130 Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            status: int = runner.run(options.command(options))
    except PolosError as error:
        print(f"polos: {_told(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _told(error: PolosError) -> str:
    """What is wrong, and what to do."""
    said = error.detail if isinstance(error, RequestRefused) else str(error)
    hint = next((hint for kind, hint in HINTS.items() if isinstance(error, kind)), None)
    return said if hint is None else f"{said.rstrip('.')}. {hint}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="polos",
        description="Workflows on shared, concurrency-limited queues.",
        epilog="The API key comes from POLOS_API_KEY or from a .env file, never from the command line. "
        "The server has a command of its own: polos-server.",
    )
    parser.add_argument("--version", action="version", version=f"polos {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for each in COMMANDS:
        command = each.add_to(commands)
        command.add_argument("--api-url", help="address of the server (default: POLOS_API_URL)")
        command.set_defaults(command=each.main)
    return parser
