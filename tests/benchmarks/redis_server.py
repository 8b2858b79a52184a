"""A Redis for one run of celery, on a socket in the run's folder, with the settings that Redis has by itself."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .stage import until

COMMAND = "redis-server"


def is_here() -> bool:
    return shutil.which(COMMAND) is not None


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Its URL."""
    socket = folder / "redis.sock"
    process = subprocess.Popen(
        [COMMAND, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)], stdout=subprocess.DEVNULL
    )
    try:
        until(socket.exists, 10, "Redis listens")
        yield f"redis+socket://{socket}"
    finally:
        process.kill()
        process.wait()
