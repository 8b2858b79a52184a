"""Where the time goes: py-spy on the first server, and what PostgreSQL's sessions were doing.

The embedded PostgreSQL has no pg_stat_statements, so its sessions are sampled: which statement, waiting for what.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from types import TracebackType

import psycopg

SAMPLE_SECONDS = 0.005
TOP = 25
IDLE = ("Condition.wait ", "EpollSelector.select ")  # threads that wait, which py-spy takes for busy
SESSIONS = """
    select coalesce(wait_event_type || ':' || wait_event, 'running'), query
    from pg_stat_activity
    where datname = current_database() and state = 'active' and pid <> pg_backend_pid()
"""


class Profiler:
    """Used as a context around what is measured; it costs a few per cent, so those figures are not compared."""

    def __init__(self, folder: Path, name: str, pid: int, dsn: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "".join(letter if letter.isalnum() else "-" for letter in name)
        self._pid, self._dsn = pid, dsn
        self._stop = threading.Event()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._spy: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Profiler:
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampler.start()
        if spy := _py_spy():
            stacks = str(self._path.with_suffix(".stacks"))
            command = [spy, "record", "--rate", "250", "--format", "raw", "--output", stacks]
            self._spy = subprocess.Popen(
                [*command, "--pid", str(self._pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._sampler.join()
        if self._spy:
            self._spy.send_signal(signal.SIGINT)
            self._spy.wait(20)
        self._path.with_suffix(".txt").write_text(self._report())

    def _sample(self) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as db:
            while not self._stop.wait(SAMPLE_SECONDS):
                for event, query in db.execute(SESSIONS):
                    self._seen[event, _first_words(query)] += 1

    def _report(self) -> str:
        stacks = self._path.with_suffix(".stacks")
        text = functions(stacks.read_text()) if stacks.exists() else "py-spy gave nothing.\n"
        samples = sum(self._seen.values()) or 1
        lines = [
            f"{count / samples:6.1%}  {event:24} {query}" for (event, query), count in self._seen.most_common(TOP)
        ]
        return text + "\nSessions of PostgreSQL, share of samples of active ones\n" + "\n".join(lines) + "\n"


def functions(stacks: str) -> str:
    """The functions that were on top, and those that were anywhere in the stack, of py-spy's raw format."""
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        names = [_function(frame) for frame in frames.split(";")]
        if names[-1].startswith(IDLE):
            continue
        own[names[-1]] += int(count)
        for name in set(names):
            within[name] += int(count)
    total = sum(own.values()) or 1
    return (
        f"{total} samples\n" + _table("On top of the stack", own, total) + _table("Anywhere in it", within, total)
    )


def _table(title: str, counts: Counter[str], total: int) -> str:
    return f"\n{title}\n" + "".join(
        f"{count / total:6.1%}  {name}\n" for name, count in counts.most_common(2 * TOP)
    )


def _function(frame: str) -> str:
    """Without the line: `name (file.py:12)` becomes `name (file.py)`."""
    head, _, _ = frame.rpartition(":")
    return f"{head})" if head else frame


def _first_words(query: str) -> str:
    lines = [line.strip() for line in query.splitlines() if line.strip() and not line.strip().startswith("--")]
    return " ".join(lines)[:90]


def _py_spy() -> str | None:
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")
