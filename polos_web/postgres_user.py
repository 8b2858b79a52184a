"""PostgreSQL refuses to run as root: who runs it then."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import subprocess
from pathlib import Path

from .problems import Problem

ACCOUNT = "polos-postgres"
_NORMAL_USER = "Start polos-server as a normal user instead."
_READING_CAPABILITIES = {"dac_read_search": 2, "dac_override": 1}  # names and bits, the narrower one first
_SETPCAP = 8


def owner() -> tuple[int, int] | None:
    """The user and group that own the database's files; None when that is simply us."""
    if os.geteuid() != 0:
        return None
    account = _account()
    return account.pw_uid, account.pw_gid


def command(arguments: list[str]) -> list[str]:
    """The command, run as the owner of the database's files.

    A checkout or a data directory often lies under a folder that only root may enter, such as /root. So the
    account gets the right to pass through, for this process only; no folder's permissions are changed.
    """
    owned_by = owner()
    if owned_by is None:
        return arguments
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise Problem(f"PostgreSQL refuses to run as root, and setpriv (util-linux) is missing. {_NORMAL_USER}")
    uid, gid = owned_by
    account = [f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs"]
    return [setpriv, *account, *_passage(_permitted()), *arguments]


def _passage(permitted: int) -> list[str]:
    """The narrowest right that we have to pass through folders, handed on; none in a container without any."""
    right = next((f",+{name}" for name, bit in _READING_CAPABILITIES.items() if permitted >> bit & 1), "")
    options = [f"--inh-caps=-all{right}", f"--ambient-caps=-all{right}"]
    if permitted >> _SETPCAP & 1:
        # Without this bit, access(2) ignores the right, and PostgreSQL's programs do not find each other.
        options.append("--securebits=+no_setuid_fixup")
    return options


def _permitted() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("CapPrm:")[1].split()[0], 16)


def _account() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        _create_account()
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        raise Problem(
            f"PostgreSQL refuses to run as root, and the system account {ACCOUNT} cannot be made. {_NORMAL_USER}"
        ) from None


def _create_account() -> None:
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if platform.system() != "Linux" or useradd is None:
        raise Problem(f"PostgreSQL refuses to run as root. {_NORMAL_USER}")
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    # Fails when another start was faster; the caller looks again.
    subprocess.run([useradd, *options, "--shell", "/usr/sbin/nologin", ACCOUNT], capture_output=True, check=False)
