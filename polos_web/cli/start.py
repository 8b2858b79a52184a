from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import environment
from ..problems import Problem

HELP = "start the server, with its embedded PostgreSQL unless DATABASE_URL is set"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--host", help="address to listen on (POLOS_HOST, 127.0.0.1)")
    command.add_argument("--port", help="port to listen on (POLOS_PORT, 8080)")
    command.add_argument("--open", action="store_true", help="open the page in a browser")
    command.add_argument("--demo", action="store_true", help="add a worker and traffic, with data of their own")
    command.add_argument("--asgi", choices=("daphne", "uvicorn"), default="daphne", help="default: daphne")


def run(options: argparse.Namespace) -> None:
    _take_options(options)
    serve = _server(options.asgi)
    from django.conf import settings

    from ..listening import check_free

    check_free(settings.POLOS_HOST, settings.POLOS_PORT)
    from .. import starting

    starting.start(serve, demo=options.demo, open_browser=options.open)


def _take_options(options: argparse.Namespace) -> None:
    for name in ("host", "port"):
        if given := getattr(options, name):
            os.environ[f"POLOS_{name.upper()}"] = given
    if options.demo and not options.data_dir:
        os.environ["POLOS_DATA_DIR"] = str(_demo_data_dir())


def _demo_data_dir() -> Path:
    from ..datadir import default_data_dir

    usual = Path(environment.text("POLOS_DATA_DIR") or default_data_dir())
    return usual.with_name(f"{usual.name}-demo")


def _server(name: str) -> Callable[..., Any]:
    """Which one is decided before anything starts, because uvicorn may be missing."""
    if name == "uvicorn":
        try:
            import uvicorn  # noqa: F401
        except ImportError:
            raise Problem(
                "uvicorn is not installed. Install the extra (pip install -e '.[uvicorn]'), or leave --asgi out."
            ) from None

    def serve(*args: Any, **options: Any) -> None:
        # Imported late: it sets up Django, which reads the settings that the options have changed.
        from importlib import import_module

        import_module(f"polos_web.serving.on_{name}").serve(*args, **options)

    return serve
