"""Loaded before Django's settings: tests have a data directory of their own and read no `.env`."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

os.environ["PYTHON_DOTENV_DISABLED"] = "1"
# Images of containers often set this: then each of the hundreds of processes compiles all that it imports (2 s).
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
for _name in [name for name in os.environ if name.startswith("POLOS_")]:
    del os.environ[_name]
DATA_DIR = os.environ["POLOS_DATA_DIR"] = tempfile.mkdtemp(prefix="polos-tests-")
atexit.register(shutil.rmtree, DATA_DIR, ignore_errors=True)
os.environ["POLOS_SECRET_KEY"] = "a key that only tests use, long enough and with digits: 0123456789"
