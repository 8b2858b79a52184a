"""`polos worker`: serves the workflows of modules until it is told to stop."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import socket
import sys
import threading
import time
import traceback
from types import ModuleType
from typing import Any

from .._client import PolosClient
from .._errors import DefinitionError
from .._logs import mark_log_records
from .._places import file_and_line
from .._settings import default_worker_name, load_settings
from .._worker import DRAIN_SECONDS, Worker
from .._workflow import Workflow, registered_workflows
from .processes import run_processes

logger = logging.getLogger("polos")

FORMAT = "%(asctime)s %(levelname)s %(name)s [%(polos_execution)s %(polos_attempt)s] %(message)s"
MAX_PROCESSES = 1_000
LAST_SECONDS = 10.0  # for the program to end once the worker has left
POOLS = ("asyncio_", "uvloop_")  # how the loops name the threads of `asyncio.to_thread`
LEVELS = ("debug", "info", "warning", "error")


def add_to(commands: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        "worker",
        help="serve workflows",
        description="Serves workflows. The first SIGTERM or Ctrl-C lets what runs finish, a second one does not.",
    )
    parser.add_argument(
        "modules", nargs="+", metavar="MODULE[:NAME,NAME]",
        help="a module, for all workflows that it declares, or some of them: shop.orders:charge,ship",
    )  # fmt: skip
    parser.add_argument("--queues", type=_names, metavar="NAME,NAME", help="only the workflows on these queues")
    parser.add_argument(
        "--concurrency", type=int, metavar="N", help="executions at once (POLOS_MAX_CONCURRENT, 200)"
    )
    parser.add_argument("--name", help="the same after a restart (POLOS_WORKER_NAME, else host and module)")
    parser.add_argument(
        "--drain-seconds", type=float, default=DRAIN_SECONDS, metavar="N",
        help="how long what runs may finish when it is told to stop (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--processes", type=_count, default=1, metavar="N",
        help="so many of these, each with its own --concurrency: for code that keeps a core busy",
    )  # fmt: skip
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="(default: %(default)s)")
    return parser


async def main(options: argparse.Namespace) -> int:
    mark_log_records()
    logging.basicConfig(level=options.log_level.upper(), format=FORMAT)
    if options.processes > 1:
        return await run_processes(_commands(options))
    workflows = _on_queues(find_workflows(options.modules), options.queues)
    async with PolosClient(options.api_url) as client:
        worker = Worker(
            workflows,
            client=client,
            name=options.name or _name(client.settings.worker_name, options.modules[0]),
            max_concurrent=options.concurrency,
            drain_seconds=options.drain_seconds,
        )
        await worker.run()
    _end_for_sure()
    return 0


def _end_for_sure() -> None:
    """Python waits for the threads of `asyncio.to_thread`, for ever: what they do was handed back already."""
    threads = [each for each in threading.enumerate() if each.name.startswith(POOLS)]

    def end() -> None:
        time.sleep(LAST_SECONDS)
        if not any(each.is_alive() for each in threads):
            return
        logger.warning("Threads that the worker's code has started do not end; ending the process all the same.")
        logging.shutdown()
        os._exit(0)

    threading.Thread(target=end, name="polos-end", daemon=True).start()


def _commands(options: argparse.Namespace) -> list[list[str]]:
    """One call of this command for each process, with names that tell them apart."""
    settings = load_settings(api_url=options.api_url)
    name = options.name or _name(settings.worker_name, options.modules[0])
    flags = {
        "--queues": options.queues and ",".join(options.queues), "--concurrency": options.concurrency,
        "--drain-seconds": options.drain_seconds, "--log-level": options.log_level, "--api-url": options.api_url,
    }  # fmt: skip
    same = [part for flag, value in flags.items() if value is not None for part in (flag, str(value))]
    return [
        ["worker", *options.modules, *same, "--name", f"{name[:190]}/{number}"]
        for number in range(1, options.processes + 1)
    ]


def _name(set_name: str, target: str) -> str:
    """By default the program's name, which would be the same for all that this command starts."""
    if set_name != default_worker_name():
        return set_name
    return f"{socket.gethostname()}/{target.partition(':')[0]}"[:200]


def find_workflows(targets: list[str]) -> list[Workflow[Any]]:
    """The workflows of `module` and `module:name,name`, each once; DefinitionError where there is none."""
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    found: dict[int, Workflow[Any]] = {}
    for target in targets:
        name, colon, names = target.partition(":")
        before = set(map(id, registered_workflows()))
        module = _imported(name)
        chosen = [_named(module, each) for each in _names(names)] if colon else _all_of(module, before)
        if not chosen:
            raise DefinitionError(f"{name} declares no workflow: decorate a function in it with @workflow")
        found |= {id(each): each for each in chosen}
    return list(found.values())


def _imported(name: str) -> ModuleType:
    """An error inside of the module is the author's, and is shown as such."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise DefinitionError(
            f"There is no module {name} here ({os.getcwd()}) or among the installed ones"
        ) from None
    except RuntimeError as error:
        if "asyncio.run() cannot be called" not in str(error):
            raise
        *_, place, _ = traceback.extract_tb(error.__traceback__)
        where = file_and_line(place.filename, place.lineno or 0)
        raise DefinitionError(
            f"{where} runs a program while {name} is imported: put that "
            'under `if __name__ == "__main__":`, so that a worker can import the workflows alone'
        ) from None
    except (ValueError, TypeError) as error:  # an empty name, or a relative one
        if not name or name.startswith("."):
            raise DefinitionError(f"{name!r} is no module: write it as for import, shop.orders") from error
        raise


def _all_of(module: ModuleType, before: set[int]) -> list[Workflow[Any]]:
    """What the module has as its own names, and what its import declared in modules that it brought along."""
    named = [each for each in vars(module).values() if isinstance(each, Workflow)]
    return named + [each for each in registered_workflows() if id(each) not in before]


def _named(module: ModuleType, name: str) -> Workflow[Any]:
    found = getattr(module, name, None)
    if isinstance(found, Workflow):
        return found
    known = ", ".join(key for key, each in vars(module).items() if isinstance(each, Workflow)) or "none"
    raise DefinitionError(f"{module.__name__} has no workflow {name!r}. Its workflows: {known}")


def _on_queues(workflows: list[Workflow[Any]], queues: list[str] | None) -> list[Workflow[Any]]:
    if queues is None:
        return workflows
    known = {each.queue.name for each in workflows}
    if unknown := sorted(set(queues) - known):
        raise DefinitionError(
            f"No workflow here is on {', '.join(unknown)}. Their queues: {', '.join(sorted(known))}"
        )
    return [each for each in workflows if each.queue.name in queues]


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_PROCESSES:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {MAX_PROCESSES}")
    return int(text)
