"""What running executions tell: lines for their logs, and how far they are.

Lines are written down where they are made, in any thread, and sent in the background, many at once. Nobody waits
for that but the result of the attempt, so that what it logged is there when it is. While the server is away lines
are kept up to a bound; then the oldest are dropped, and a line in their place says how many.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import threading
from collections import deque
from contextlib import suppress
from contextvars import Context
from typing import Any, Literal, NamedTuple

from ._clock import Clock
from ._errors import Conflict, Invalid, RequestRefused, TooLarge
from ._http import Http
from ._json import decode, encode
from ._running import Run
from ._texts import cut, fields_json

logger = logging.getLogger("polos")

Level = Literal["debug", "info", "warning", "error"]

PAUSE = 0.2  # seconds that a line may wait for company
MOST_KEPT = 10_000  # lines of one worker that wait to be sent
MOST_KEPT_CHARACTERS = 8_000_000
MOST_AT_ONCE = 1_000
MOST_CHARACTERS = 3_900_000  # of 16 MiB: a character has up to four bytes
MAX_TEXT = 10_000
MAX_PROGRESS_TEXT = 500
FLUSH_SECONDS = 5.0  # how long a result waits for its lines while the server answers
LONGEST_FLUSH = 60.0  # and while it does not: then the result could not be handed in either
LAST_FLUSH = 2.0  # and while the worker leaves


class Report:
    """What one claim tells. Guarded by the reporter's lock."""

    __slots__ = (
        "dropped",
        "dropped_seq",
        "id",
        "is_stale",
        "pending",
        "progress",
        "quiet",
        "seq",
        "token",
        "words",
    )

    def __init__(self, run: Run) -> None:
        self.id = run.id
        self.token = run.token
        self.seq = 0
        self.pending = 0  # lines and progress that the server has not taken yet
        self.dropped = self.dropped_seq = 0
        self.progress: str | None = None  # JSON, not sent yet
        self.is_stale = False  # somebody else's now
        self.quiet: asyncio.Event | None = None  # for who waits until nothing is pending


class _Line(NamedTuple):
    report: Report
    seq: int
    json: str


class _Batch(NamedTuple):
    lines: list[_Line]
    progress: dict[Report, str]

    @property
    def reports(self) -> list[Report]:
        return list(dict.fromkeys([*(line.report for line in self.lines), *self.progress]))


class Reporter:
    """Sends what the executions of one worker tell. Made on the loop that sends; called from any thread."""

    def __init__(self, http: Http, clock: Clock) -> None:
        self._http = http
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._lines: deque[_Line] = deque()
        self._characters = 0
        self._told: dict[Report, None] = {}  # those with a progress to send, in order
        self._lossy: dict[Report, None] = {}  # those whose lines were dropped, and nobody was told yet
        self._awake = False
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._complained = False

    def line(self, run: Run, level: Level, text: object, fields: dict[str, Any]) -> None:
        if run.is_replaying:
            return
        body = f'"level":"{level}","at":"{self._now()}","text":{encode(cut(str(text), MAX_TEXT), "A line")}'
        if fields:
            body += f',"fields":{fields_json(fields)}'
        with self._lock:
            report = _report(run)
            if report.is_stale:
                return
            report.seq += 1
            report.pending += 1
            line = _Line(report, report.seq, f'{{"seq":{report.seq},{body}}}')
            self._lines.append(line)
            self._characters += len(line.json)
            while len(self._lines) > MOST_KEPT or self._characters > MOST_KEPT_CHARACTERS:
                self._drop_oldest()
        self._wake()

    def progress(self, run: Run, value: float | None, text: str | None) -> None:
        """Only the latest is sent. None leaves what was said before."""
        before, words = run.progress
        now = (
            before if value is None else _checked(value),
            words if text is None else cut(str(text), MAX_PROGRESS_TEXT),
        )
        run.progress = now
        if not run.is_replaying:
            self.say_progress(run, now)

    def say_progress(self, run: Run, words: tuple[float | None, str]) -> None:
        body = {"value": words[0], "text": words[1], "at": self._now()}
        with self._lock:
            report = _report(run)
            if report.is_stale:
                return
            report.pending += report.progress is None
            report.progress = encode(body, "A progress")
            self._told[report] = None
        self._wake()

    async def flush(self, run: Run) -> None:
        """Until all that the run has told is with the server; not for ever. A cancellation only shortens it: what
        comes next hands in the result, which must not get lost."""
        report: Report | None = run.report
        if report is None or run.ending == "dropped":
            return
        with suppress(asyncio.CancelledError):
            await self._flush(report, LAST_FLUSH if run.ending == "released" else FLUSH_SECONDS)

    async def _flush(self, report: Report, seconds: float) -> None:
        began, answered = self._loop.time(), self._loop.time()
        report.quiet = asyncio.Event()
        while report.pending:
            self._hurry.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await report.quiet.wait()
            now = self._loop.time()
            if self._http.outages.are_on and seconds == FLUSH_SECONDS and now - began < LONGEST_FLUSH:
                answered = now
            elif now - answered > seconds:
                logger.warning("The last lines of execution %s could not be sent in time.", report.id)
                return

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # -- writing down ----------------------------------------------------------------------------------

    def _now(self) -> str:
        return dt.datetime.fromtimestamp(self._clock.now(), dt.UTC).isoformat()

    def _drop_oldest(self) -> None:
        line = self._lines.popleft()
        self._characters -= len(line.json)
        line.report.pending -= 1
        line.report.dropped += 1
        line.report.dropped_seq = line.seq
        self._lossy[line.report] = None

    def _wake(self) -> None:
        with self._lock:
            if self._awake:
                return
            self._awake = True
        with suppress(RuntimeError):  # the loop is closed: the worker left without this thread
            self._loop.call_soon_threadsafe(self._start)

    # -- sending ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        # Without the variables of the execution that happens to come first: it sends for all of them.
        self._task = self._loop.create_task(self._send_all(), context=Context())

    async def _send_all(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await self._hurry.wait()
            self._hurry.clear()
            while (batch := self._take()) is not None:
                await self._send(batch)
            with self._lock:
                if not self._lines and not self._told:
                    self._awake = False
                    return

    def _take(self) -> _Batch | None:
        with self._lock:
            lines = [self._note_dropped(report) for report in self._lossy]
            self._lossy.clear()
            characters = 0
            while self._lines and len(lines) < MOST_AT_ONCE and characters < MOST_CHARACTERS:
                lines.append(self._lines.popleft())
                characters += len(lines[-1].json)
            self._characters -= characters
            progress = {report: self._take_progress(report) for report in [*self._told][:MOST_AT_ONCE]}
        return _Batch(lines, progress) if lines or progress else None

    def _take_progress(self, report: Report) -> str:
        del self._told[report]
        told, report.progress = report.progress, None
        return told or "null"

    def _note_dropped(self, report: Report) -> _Line:
        """In the place of the last one that was dropped."""
        words = "1 line was" if report.dropped == 1 else f"{report.dropped:,} lines were"
        text = f"{words} dropped here: more was logged than could be sent."
        report.dropped = 0
        report.pending += 1
        seq = report.dropped_seq
        return _Line(report, seq, f'{{"seq":{seq},"level":"warning","at":"{self._now()}","text":"{text}"}}')

    async def _send(self, batch: _Batch) -> None:
        try:
            stale = await self._post(batch)
        except (Invalid, TooLarge) as error:
            await self._send_parts(batch, error)
            return
        except RequestRefused as error:
            self._complain(error)
            stale = set()
        self._settle(batch, stale)

    async def _send_parts(self, batch: _Batch, error: RequestRefused) -> None:
        """One line that the server does not take must not cost the others."""
        lines, progress = batch
        if len(lines) + len(progress) == 1:
            self._complain(error)
            if lines and "fields" in (line := decode(lines[0].json)):
                line["fields"] = {"left out": error.detail}
                await self._send(_Batch([lines[0]._replace(json=encode(line, "A line"))], {}))
            else:
                self._settle(batch, set())
            return
        half = (len(lines) + 1) // 2
        parts = [_Batch(lines[:half], {}), _Batch(lines[half:], {})]
        for part in [*parts, *(_Batch([], {report: told}) for report, told in progress.items())]:
            if part.lines or part.progress:
                await self._send(part)

    async def _post(self, batch: _Batch) -> set[str]:
        """The executions that are somebody else's by now."""
        body = f'{{"logs":[{",".join(self._bodies(batch))}]}}'
        try:
            reply = await self._http.call("POST", "/logs", body, lane="logs", patience=None)
        except Conflict:
            return {report.id for report in batch.reports}
        return {each["execution_id"] for each in reply["logs"] if each["outcome"] == "stale"}

    def _bodies(self, batch: _Batch) -> list[str]:
        lines: dict[Report, list[str]] = {report: [] for report in batch.reports}
        for line in batch.lines:
            lines[line.report].append(line.json)
        return [
            f'{{"execution_id":"{report.id}","token":"{report.token}","lines":[{",".join(texts)}]'
            + (f',"progress":{batch.progress[report]}}}' if report in batch.progress else "}")
            for report, texts in lines.items()
        ]

    def _settle(self, batch: _Batch, stale: set[str]) -> None:
        with self._lock:
            for report in [*(line.report for line in batch.lines), *batch.progress]:
                report.pending -= 1
                report.is_stale = report.is_stale or report.id in stale
            quiet = [report.quiet for report in batch.reports if report.pending == 0 and report.quiet is not None]
        for event in quiet:
            event.set()

    def _complain(self, error: RequestRefused) -> None:
        level = logging.DEBUG if self._complained else logging.WARNING
        self._complained = True
        logger.log(level, "The server does not take what executions log: %s", error)


def _report(run: Run) -> Report:
    if run.report is None:
        run.report = Report(run)
    report: Report = run.report
    return report


def _checked(value: float) -> float:
    """ValueError for what cannot be meant; a sum of tenths may be a little more than 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e-6 <= value <= 1 + 1e-6:
        raise ValueError(f"progress is a number from 0 to 1, not {value!r}")
    return min(1.0, max(0.0, float(value)))
