"""The command `polos`, as people call it: real processes, and a real server where it needs one."""

from __future__ import annotations

import asyncio
import datetime as dt
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polos import DefinitionError, Execution, Invocation, PolosClient, Progress, _workflow
from polos import __version__ as polos_version
from polos._execution import read_execution
from polos._stream import read_line
from polos.cli import main, processes, tables, worker
from polos.cli.lines import shown_line, shown_progress
from polos.cli.run import in_words
from polos.cli.worker import find_workflows
from tests.servers import Server, eventually

SHOP = """
from __future__ import annotations
import asyncio, logging
from polos import Fail, queue, workflow

@workflow(id="cli-double", queue=queue("cli/doubles", concurrency_limit=1))
async def double(ctx, payload):
    logging.getLogger("shop").info("doubling")
    await asyncio.sleep(payload.get("seconds", 0))
    return {"doubled": 2 * payload["n"]}

@workflow(id="cli-tells", queue="cli/telling")
async def tells(ctx):
    ctx.log.info("first\x1b[2J", page=1)
    ctx.log.warning("second")
    ctx.heartbeat(0.4, "page 4 of 10")
    await asyncio.sleep(0.5)
    return "told"

@workflow(id="cli-fails", queue="cli/failing")
async def fails(ctx):
    raise Fail("out of stock")
"""


DIES = """
import os, time
from polos import workflow

@workflow(id="cli-dies", queue="cli/dies")
async def dies(ctx):
    os._exit(7)

@workflow(id="cli-lives", queue="cli/lives")
async def lives(ctx):
    return "alive"
"""
NOBODY = "01a00000-0000-7000-8000-000000000000"
SDK = Path(__file__).parents[2] / "sdk"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "script.py").write_text("import asyncio\nfrom shop import double\nasyncio.run(asyncio.sleep(0))\n")
    return tmp_path


def environment(server: Server | None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POLOS_")}
    return kept | {"PYTHON_DOTENV_DISABLED": "1"} | ({"POLOS_API_URL": server.url} if server else {})


def polos(
    *arguments: str, server: Server | None = None, cwd: Path | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "polos", *arguments], cwd=cwd, env=environment(server), input=given,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@contextmanager
def serving(shop: Path, server: Server, *arguments: str) -> Iterator[Path]:
    """`polos worker` while the block runs; its log."""
    log = shop / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "polos", "worker", *arguments], cwd=shop, env=environment(server),
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        assert eventually(lambda: " serves " in log.read_text(), seconds=20), log.read_text()
        yield log
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()


def test_a_worker_a_run_and_its_result(running_server: Server, shop: Path) -> None:
    with serving(
        shop, running_server, "shop:double,fails,tells", "--concurrency", "7", "--name", "cli-worker"
    ) as log:
        done = polos("run", "cli-double", "--payload", '{"n": 21}', server=running_server)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"doubled": 42})
        assert done.stderr.splitlines()[0].endswith(" started")
        (shop / "payload.json").write_text('{"n": 4}')
        done = polos("run", "cli-double", "--payload", f"@{shop}/payload.json", server=running_server)
        assert json.loads(done.stdout) == {"doubled": 8}
        done = polos("run", "cli-double", "--payload", "-", server=running_server, given='{"n": 5}')
        assert json.loads(done.stdout) == {"doubled": 10}
        failed = polos("run", "cli-fails", server=running_server)
        assert (failed.returncode, failed.stdout) == (1, "")
        assert "failed: Fail: out of stock" in failed.stderr
        assert "shop.py" in failed.stderr
        _check_what_is_told(running_server)
    said = log.read_text()
    assert "Worker cli-worker serves cli-double, cli-fails, cli-tells on cli/doubles, cli/failing" in said
    assert "up to 7 at once" in said
    assert re.search(r"INFO shop \[[0-9a-f-]{36} 1\] doubling", said)


def _check_what_is_told(server: Server) -> None:
    told = polos("run", "cli-tells", "--logs", server=server)
    assert (told.returncode, told.stdout) == (0, '"told"\n')
    assert re.search(r"\d INFO +first\N{REPLACEMENT CHARACTER}\[2J page=1$", told.stderr, re.MULTILINE)
    assert "[████████            ] 40 % page 4 of 10" in told.stderr
    id = told.stderr.split()[0]
    warned = polos("logs", id, "--level", "warning", server=server)
    assert (warned.returncode, len(warned.stdout.splitlines())) == (0, 1)
    assert warned.stdout.endswith(" WARNING second\n")
    followed = polos("logs", id, "--follow", "--json", server=server)
    assert (followed.returncode, followed.stderr) == (0, f"{id} is completed\n")
    assert [json.loads(line)["number"] for line in followed.stdout.splitlines()] == [1, 2]


def test_several_processes_share_the_work(running_server: Server, shop: Path) -> None:
    with serving(shop, running_server, "shop:double", "--processes", "2", "--name", "cli-pair") as log:
        assert eventually(lambda: log.read_text().count(" serves ") == 2, seconds=20)
        done = polos("run", "cli-double", "--payload", '{"n": 1}', server=running_server)
        assert json.loads(done.stdout) == {"doubled": 2}
    said = log.read_text()
    assert "Worker cli-pair/1 serves" in said
    assert "Worker cli-pair/2 serves" in said
    assert said.count("Stopped.") == 2


def test_what_keeps_one_process_from_starting_ends_all(shop: Path) -> None:
    done = polos("worker", "shop", "--processes", "3", "--queues", "elsewhere", cwd=shop)
    assert done.returncode == 1
    assert "No workflow here is on elsewhere" in done.stderr


async def test_a_process_that_dies_is_started_again(
    running_server: Server, shop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (shop / "dies.py").write_text(DIES)
    monkeypatch.setattr(processes, "YOUNG_SECONDS", 0.0)
    monkeypatch.setattr(processes, "RESTART_PAUSE", 0.0)
    monkeypatch.setenv("PYTHONPATH", f"{shop}:{SDK}")
    monkeypatch.setenv("POLOS_API_URL", running_server.url)
    working = asyncio.create_task(processes.run_processes([["worker", "dies", "--name", "cli-dies"]]))
    try:
        async with PolosClient(running_server.url) as client:
            dies = await client.invoke("cli-dies", queue_name="cli/dies")
            assert await asyncio.to_thread(eventually, lambda: "ended with 7" in caplog.text, seconds=20)
            lives = await client.invoke("cli-lives", queue_name="cli/lives")
            assert await lives.result(20) == "alive"
            await dies.cancel()
        os.kill(os.getpid(), signal.SIGTERM)
        assert await asyncio.wait_for(working, 20) == 0
    finally:
        working.cancel()


async def test_what_dies_at_once_beside_one_that_lives_is_started_again_and_ends_nobody(
    shop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A queue of poison kills each new process; code may be broken by a deploy while the others still have it."""
    monkeypatch.setattr(processes, "RESTART_PAUSE", 0.0)
    monkeypatch.setenv("PYTHONPATH", str(SDK))
    group = processes._Group()
    group.proved = True
    broken = asyncio.create_task(group.keep_running(["worker", "there_is_no_such_module"]))
    assert await asyncio.to_thread(
        eventually, lambda: caplog.text.count("ended with 1; starting") >= 2, seconds=20
    )
    # One that is told to stop as it dies ends by its own fault: it is told between two of them.
    monkeypatch.setattr(processes, "RESTART_PAUSE", processes.LONGEST_PAUSE)
    pause = f"ended with 1; starting it again in {processes.LONGEST_PAUSE:g} s"
    assert await asyncio.to_thread(eventually, lambda: pause in caplog.text, seconds=20)
    group.pass_on(signal.SIGTERM)
    assert await asyncio.wait_for(broken, 20) <= 0
    assert group.failure == 0


async def test_a_young_process_that_is_killed_from_outside_is_started_again(
    shop: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "RESTART_PAUSE", 0.0)
    monkeypatch.setenv("PYTHONPATH", f"{shop}:{SDK}")
    monkeypatch.setenv("POLOS_API_URL", "http://127.0.0.1:9")
    group = processes._Group()
    running = asyncio.create_task(group.keep_running(["worker", "shop"]))
    assert await asyncio.to_thread(eventually, lambda: bool(group._processes), seconds=20)
    (first,) = group._processes
    first.kill()
    assert await asyncio.to_thread(
        eventually, lambda: "was killed by SIGKILL; starting" in caplog.text, seconds=20
    )
    group.pass_on(signal.SIGTERM)
    assert await asyncio.wait_for(running, 20) <= 0


async def test_who_waits_sees_the_place_in_line(running_server: Server, shop: Path) -> None:
    with serving(shop, running_server, "shop", "--queues", "cli/doubles"):
        async with PolosClient(running_server.url) as client:
            first = await client.invoke("cli-double", {"n": 1, "seconds": 2.5})
            second = await client.invoke("cli-double", {"n": 1})
            done = await asyncio.to_thread(
                polos, "run", "cli-double", "--payload", '{"n": 3}', server=running_server
            )
            await asyncio.gather(first.result(10), second.result(10))
        assert "queued on cli/doubles, place 2 in line" in done.stderr
        assert json.loads(done.stdout) == {"doubled": 6}


def test_what_is_not_waited_for_can_be_cancelled(running_server: Server) -> None:
    idle = ("run", "cli-nobody", "--queue", "cli/nobody", "--payload", "5")
    begun = polos(*idle, "--no-wait", "--key", "once", server=running_server)
    id = begun.stdout.strip()
    assert polos(*idle, "--no-wait", "--key", "once", server=running_server).stdout.strip() == id
    late = polos(*idle, "--key", "once", "--timeout", "0.3", server=running_server)
    assert late.returncode == 124
    assert f"{id} was there already" in late.stderr
    assert "queued on cli/nobody; no worker serves cli-nobody there, so it waits until one does" in late.stderr
    assert "no worker serves cli-nobody" in begun.stderr
    assert f"not finished after 0.3 s; it goes on, and `polos cancel {id}` stops it" in late.stderr
    silent = polos("logs", id, server=running_server)
    assert (silent.stdout, silent.stderr) == ("", "it has logged nothing\n")
    cancelled = polos("cancel", id, server=running_server)
    assert (cancelled.returncode, cancelled.stdout) == (0, f"{id} is cancelled\n")
    unknown = polos("cancel", NOBODY, id, server=running_server)
    assert (unknown.returncode, unknown.stdout) == (1, f"{id} is cancelled\n")
    assert unknown.stderr == f"{NOBODY}: There is no execution {NOBODY}.\n"
    again = polos(*idle, "--key", "once", server=running_server)
    assert again.returncode == 1
    assert "Nothing was started: this execution is there already under the idempotency key 'once'." in again.stderr
    assert "was cancelled" in again.stderr
    short = tables.short_id(id)
    assert polos("retry", short, server=running_server).stdout == f"{id} is queued\n"
    refused = polos("retry", id, short, server=running_server)
    assert refused.returncode == 1
    assert refused.stderr.count("Only a failed or cancelled execution can be retried; this one is queued.") == 2
    anew = polos("rerun", id, "--payload", '{"n": 6}', server=running_server).stdout.strip()
    found = polos(
        "executions", "--search", "payload.n:6", "--queue", "cli/nobody", "--json", server=running_server
    )
    assert [each["id"] for each in json.loads(found.stdout)] == [anew]
    assert polos("cancel", id, anew, "--children", "cancel", server=running_server).returncode == 0
    ends = polos("logs", f"abcdef…{'0' * 12}", server=running_server)
    assert (ends.returncode, ends.stderr) == (1, "polos: There is no execution abcdef…000000000000.\n")


def test_a_table_is_as_wide_as_the_terminal(running_server: Server) -> None:
    words = ("run", "cli-nobody-with-a-long-name", "--queue", f"cli/{'long-' * 9}name", "--no-wait")
    id = polos(*words, server=running_server).stdout.strip()
    listed = ("executions", "--search", f"id:{id}")
    whole = polos(*listed, server=running_server).stdout.splitlines()[1]
    assert whole.split()[:3] == [id, words[1], words[3]]
    shown = in_a_terminal(*listed, server=running_server, columns=80)
    assert {len(line) <= 80 for line in shown} == {True}
    assert re.match(rf"{tables.short_id(id)}  cli-nob\S*…\S*-name  cli/lon\S*…\S*-name  queued ", shown[1])
    assert polos("cancel", shown[1].split()[0], server=running_server).stdout == f"{id} is cancelled\n"
    many = polos("cancel", id[:6], server=running_server)
    assert many.stderr == f"{id[:6]}: Several executions have an id like {id[:6]}: give more of it.\n"


def in_a_terminal(*arguments: str, server: Server, columns: int) -> list[str]:
    ours, theirs = os.openpty()
    with open(ours, "rb", buffering=0) as screen:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        env = {name: value for name, value in environment(server).items() if name != "COLUMNS"}
        process = subprocess.Popen([sys.executable, "-m", "polos", *arguments], env=env, stdout=theirs)
        os.close(theirs)
        assert process.wait(30) == 0
        return screen.read(100_000).decode().splitlines()


def test_a_server_that_is_away_or_refuses_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("polos.cli.queues.SHORT_PATIENCE", 0.1)
    assert main(["queues", "--api-url", "http://127.0.0.1:9"]) == 1
    assert capsys.readouterr().err.endswith(
        "polos: The server http://127.0.0.1:9 cannot be reached (connection refused). Is it running "
        "(`polos-server start`)? POLOS_API_URL or --api-url says where to look.\n"
    )


def test_a_refused_key_is_told_with_what_to_do(
    running_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLOS_API_KEY", "polos_nonsense")
    assert main(["queues", "--api-url", running_server.url]) == 1
    assert capsys.readouterr().err == (
        "polos: Send the API key as “Authorization: Bearer polos_…”, complete and unchanged. "
        "`polos-server createkey NAME` makes one, on the server; give it in POLOS_API_KEY.\n"
    )


def test_what_is_for_later_is_not_started_now(running_server: Server) -> None:
    later = ("run", "cli-nobody", "--queue", "cli/later", "--at", "2199-01-31T12:00Z", "--dedup-key", "k")
    waited = polos(*later, "--timeout", "0.3", server=running_server)
    assert "scheduled for 2199-01-31 12:00:00 UTC" in waited.stderr
    again = polos(*later, "--no-wait", server=running_server)
    assert again.stdout.strip() in waited.stderr
    refused = polos("run", "cli-nobody", "--at", "noon", server=running_server)
    assert refused.returncode == 2
    assert "'noon' is not a time like" in refused.stderr


def test_ctrl_c_leaves_the_execution_alone(running_server: Server) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "polos", "run", "cli-nobody", "--queue", "cli/nobody"],
        env=environment(running_server), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr
    id = process.stderr.readline().split()[0]
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(10) == 130
    assert f"it goes on, and `polos cancel {id}` stops it" in rest
    assert "Traceback" not in rest
    assert polos("cancel", id, server=running_server).returncode == 0


async def test_queues_and_executions_are_shown(running_server: Server) -> None:
    async with PolosClient(running_server.url) as client:
        work = [
            Invocation(workflow="cli-shown", payload=n, queue_name="cli/shown", queue_concurrency_limit=2)
            for n in range(3)
        ]
        ids = [(await client.start(each)).id for each in work]
    shown = await asyncio.to_thread(polos, "queues", "--search", "CLI/SHOWN", server=running_server)
    head, row = shown.stdout.splitlines()
    assert head.split() == ["QUEUE", "LIMIT", "RUNNING", "WAITING", "SCHEDULED", "OLDEST", "STATE"]
    assert row.split()[:5] == ["cli/shown", "2", "0", "3", "0"]
    as_json = await asyncio.to_thread(polos, "queues", "--search", "cli/shown", "--json", server=running_server)
    assert json.loads(as_json.stdout)[0]["effective_limit"] == 2
    shown = await asyncio.to_thread(
        polos, "executions", "--queue", "cli/shown", "--limit", "2", server=running_server
    )
    lines = shown.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ID", ids[2], ids[1]]
    assert re.search(r"cli-shown +cli/shown +queued +0 of 1 +\d+ s ago$", lines[1])
    none = await asyncio.to_thread(
        polos, "executions", "--queue", "cli/shown", "--status", "failed", server=running_server
    )
    assert none.stdout == "There are no such executions.\n"
    done = await asyncio.to_thread(polos, "cancel", *ids, server=running_server)
    assert done.returncode == 0


def test_queues_can_be_watched(running_server: Server) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "polos", "queues", "--watch", "0.1", "--search", "no such queue"],
        env=environment(running_server), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout and process.stderr
    assert [process.stdout.readline() for _ in range(3)] == ["There are no queues.\n"] * 3
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert process.stderr.read() == ""


# -- what cannot be meant ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["run", "x", "--payload", "{"], r"""this is not JSON .* a text needs its quotes too: '"text"'"""),
        (["run", "x", "--payload", "@missing.json"], "missing.json cannot be read"),
        (["executions", "--status", "lost"], "invalid choice"),
        (["executions", "--limit", "0"], "a whole number from 1 to 10,000"),
        (["queues", "--watch", "never"], "a number of seconds"),
        (["cancel"], "ID"),
        (["cancel", "nonsense"], "'nonsense' is no id of an execution, nor the beginning of one"),
        (["retry", "abcde"], "'abcde' is no id of an execution"),
        (["rerun", "abcdef", "--payload", "{"], "this is not JSON"),
        (["logs", "nonsense"], "'nonsense' is no id of an execution"),
        (["resume", "nonsense"], "'nonsense' is no id of an execution"),
    ],
)
def test_wrong_calls_are_told_in_a_sentence(
    arguments: Sequence[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert re.search(words, capsys.readouterr().err)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["worker", "nowhere"], "There is no module nowhere here"),
        (["worker", "nowhere.else"], "There is no module nowhere.else here"),
        (["worker", ":double"], "is no module"),
        (["worker", "json"], "json declares no workflow"),
        (["worker", "shop:treble"], "shop has no workflow 'treble'. Its workflows: double, tells, fails"),
        (["worker", "shop", "--queues", "a,cli/doubles"], "Their queues: cli/doubles, cli/failing, cli/telling"),
        (["worker", "shop", "--concurrency", "0"], "max_concurrent"),
        (["worker", "script"], "script.py:3 runs a program while script is imported: put that under `if __name__"),
        (["publish", "a b"], "publish_event: 'a b' cannot name a topic"),
        (["run", "a b"], "'a b' cannot name a workflow"),
        (["queues", "--api-url", "ftp://x"], "POLOS_API_URL"),
    ],
)
def test_what_cannot_work_is_told_in_a_sentence(arguments: list[str], words: str, shop: Path) -> None:
    done = polos(*arguments, cwd=shop)
    assert done.returncode == 1
    assert done.stderr.startswith("polos: ")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_in_the_authors_module_is_shown_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import not_installed_anywhere\n")
    done = polos("worker", "broken", cwd=tmp_path)
    assert "broken.py" in done.stderr
    assert "No module named 'not_installed_anywhere'" in done.stderr


def test_a_module_brings_what_its_import_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cli_parts.py").write_text(SHOP)
    (tmp_path / "cli_whole.py").write_text("import cli_parts\nfrom cli_parts import double as one\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(_workflow, "_registry", {})
    assert [each.id for each in find_workflows(["cli_whole"])] == ["cli-double", "cli-tells", "cli-fails"]
    assert [each.id for each in find_workflows(["cli_whole:one", "cli_parts:double"])] == ["cli-double"]
    assert [each.id for each in find_workflows(["cli_parts"])] == ["cli-double", "cli-tells", "cli-fails"]
    with pytest.raises(DefinitionError, match="declares no workflow"):
        find_workflows(["cli_parts:"])


# -- words and tables ----------------------------------------------------------------------------------


def execution_in(status: str, **more: Any) -> Execution:
    return read_execution({"id": "i", "workflow_id": "w", "queue": "q", "status": status, **more})


def test_times_are_short() -> None:
    words = [tables.duration(seconds) for seconds in (None, 0, 59.9, 60, 3_599, 3_600, 90_061, 172_800)]
    assert words == ["", "0 s", "59 s", "1 m", "59 m 59 s", "1 h", "1 d 1 h", "2 d"]


def test_names_cannot_move_the_cursor() -> None:
    text = tables.table(("NAME", "N"), [("a\x1b[2Jb", 5), ("longer name here", 12)], right=[1])
    assert text.splitlines() == [
        "NAME               N",
        "a\N{REPLACEMENT CHARACTER}[2Jb             5",
        "longer name here  12",
    ]


def test_columns_get_narrower_the_widest_first() -> None:
    head, row = (
        ("ID", "NAME", "N", "WHY"),
        ("019a5b3c-0000-7000-8000-0000000c3f2a", "a" * 20 + "b" * 20, 7, "c" * 30),
    )
    short: dict[int, tables.Shorten] = {0: "id", 1: "middle", 3: "end"}

    def line(width: int | None) -> str:
        return tables.table(head, [row], right=[2], short=short, width=width).splitlines()[1]

    assert line(None) == f"{row[0]}  {row[1]}  7  {row[3]}"
    assert line(113) == line(None)
    assert line(112) == f"019a…0c3f2a  {row[1]}  7  {row[3]}"
    assert line(60) == f"019a…0c3f2a  {'a' * 10}…{'b' * 10}  7  {'c' * 20}…"
    assert line(38) == "019a…0c3f2a  aaaaa…bbbb  7  ccccccccc…"
    assert line(30) == "019a…0c3f2a  aaaaa…bbbb  7  c…"
    wide = tables.table(("NAME", "N"), [("北京" * 20, 1), ("e\u0301", 2)], short={0: "middle"}, width=20)
    assert wide.splitlines() == [f"NAME{' ' * 15}N", "北京北京…北京北京  1", f"e\u0301{' ' * 18}2"]


def test_states_are_told_in_words() -> None:
    assert in_words(execution_in("queued", queue="q", position=3)) == "queued on q, place 3 in line"
    assert in_words(execution_in("queued", queue="q")) == "queued on q"
    assert in_words(execution_in("running", queue="q", slot=2, attempt=1, max_attempts=3)) == (
        "running in slot 2 of q, attempt 1 of 3"
    )
    assert in_words(execution_in("cancelling")) == "cancelling"
    due = in_words(execution_in("scheduled", due_at="2030-01-02T03:04:05+00:00"))
    assert due == "scheduled for 2030-01-02 03:04:05 UTC"
    waits = [
        {"key": "nap", "kind": "time", "until": "2030-01-02T03:04:05+00:00"},
        {"key": "all.results", "kind": "executions", "executions": {"count": 7, "first": []}},
        {"key": "order", "kind": "event", "topic": "orders"},
        {"key": "approve", "kind": "resume", "note": {"amount": 5}},
    ]
    assert [in_words(execution_in("waiting", waits=[wait])) for wait in waits] == [
        "waits for its time in nap, until 2030-01-02 03:04:05 UTC",
        "waits for 7 other executions",
        "waits for an event under orders",
        "waits for an answer to approve",
    ]
    assert in_words(execution_in("waiting", waits=waits[2:])) == (
        "waits for an event under orders and an answer to approve"
    )


def test_lines_and_progress_are_told_in_words() -> None:
    data = {"number": 1, "level": "info", "at": "2020-01-02T03:04:05.678+00:00", "text": "a\nb\r"}
    fields = {"to": "ana", "n": 1, "why": 'so "so"', "none": None}
    line = shown_line(read_line(data | {"attempt": 2, "fields": fields}))
    assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:05\.678 INFO    \[attempt 2\] a\nb\ufffd .*", line, re.DOTALL)
    assert line.endswith(r' to=ana n=1 why="so \"so\"" none=null')
    now = dt.datetime.now(dt.UTC)
    assert shown_progress(Progress(value=0.999, text="", at=now, attempt=1)).endswith("99 %")
    assert shown_progress(Progress(value=0.29, text="", at=now, attempt=1)).endswith(" 29 %")
    assert (
        shown_progress(Progress(value=None, text="soon\x1b", at=now, attempt=1)) == "soon\N{REPLACEMENT CHARACTER}"
    )


def test_it_tells_its_version() -> None:
    assert polos("--version").stdout == f"polos {polos_version}\n"


def test_commands_run_on_uvloop_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[str] = []

    async def record(options: object) -> int:
        loops.append(type(asyncio.get_running_loop()).__module__)
        return 0

    monkeypatch.setattr(worker, "main", record)
    assert main(["worker", "shop"]) == 0
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert main(["worker", "shop"]) == 0
    assert loops[0] == "uvloop" and loops[1].startswith("asyncio")
