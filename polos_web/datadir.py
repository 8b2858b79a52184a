"""The data directory: the embedded PostgreSQL, its password and the secret key. Ours alone."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from pathlib import Path

import platformdirs

from .problems import Problem

_OURS = ("secret-key", "database-password", "postgres", "start-stop.lock", "users.lock")
_ASIDE = ".new-"  # begins the name of a secret that is being written by another start


def default_data_dir() -> Path:
    return platformdirs.user_data_path("polos", appauthor=False)


def prepare(data_dir: Path) -> Path:
    """Creates the directory for its owner only, or checks that an existing one is ours. Its parents stay as
    they are."""
    data_dir = data_dir.expanduser().absolute()
    try:
        data_dir.parent.mkdir(parents=True, exist_ok=True)
        data_dir.mkdir(mode=0o700, exist_ok=True)
        _claim(data_dir)
    except OSError as error:
        raise Problem(
            f"The data directory {data_dir} cannot be used ({error.strerror}). "
            "Choose another one with --data-dir or POLOS_DATA_DIR."
        ) from None
    return data_dir


def _claim(data_dir: Path) -> None:
    entries = os.listdir(data_dir)
    if entries and not any(name in _OURS or name.startswith(_ASIDE) for name in entries):
        raise Problem(
            f"{data_dir} holds other files and is no data directory of Polos. "
            "Name an empty or a new folder with --data-dir or POLOS_DATA_DIR."
        )
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied")
    if stat.S_IMODE(data_dir.stat().st_mode) != 0o700:
        data_dir.chmod(0o700)


def secret(data_dir: Path, name: str) -> str:
    """A random text kept in the directory, made by whoever asks first."""
    path = data_dir / name
    try:
        return path.read_text()
    except FileNotFoundError:
        _make_secret(path)
        return path.read_text()
    except OSError as error:
        raise Problem(f"{path} cannot be read ({error.strerror}). It must belong to you.") from None


def _make_secret(path: Path) -> None:
    # Written aside and then linked: two starts at the same time agree on one, and nobody reads a half.
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=_ASIDE)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            os.fsync(file.fileno())
        os.link(aside, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(aside)
