"""Runs the example's worker.py until it ends or whoever started us is gone."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
from pathlib import Path


def main() -> None:
    folder = Path(sys.argv[1])
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    sys.path[0] = str(folder)
    runpy.run_path(str(folder / "worker.py"), run_name="__main__")


def _stop_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
