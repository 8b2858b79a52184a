"""The fast lane and Daphne behind it, spoken to in bytes: who answers what, and that both answer alike."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple

import psutil
import pytest

from tests import servers
from tests.acceptance.test_signin import Browser
from tests.servers import Server

IDLE_SECONDS = 1.5  # in place of a minute
# The lane can be imported once Django is set up.
START = f"""
import sys
from polos_web import cli, starting

def run(*args, run=starting._run, **options):
    from polos_web.serving import lane
    lane.IDLE_SECONDS = {IDLE_SECONDS}
    run(*args, **options)

starting._run = run
sys.exit(cli.main())
"""
NOBODY = "0190a5f0-0000-7000-8000-000000000000"
HOT = f"/api/v1/executions/{NOBODY}"
SILENCE = 0.3
VARYING = ("date", "expires", "connection", "set-cookie")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    by_lane: bool

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection to the server."""

    def __init__(self, server: Server) -> None:
        host, _, port = server.url.removeprefix("http://").partition(":")
        self.name = f"{host}:{port}"
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""

    def send(self, *parts: bytes) -> Line:
        for part in parts:
            self.socket.sendall(part)
            if len(parts) > 1:
                time.sleep(0.001)
        return self

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return self.send(self.request(method, path, body, **headers)).answer()

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        length = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(content))}
        lines = {"Host": self.name, **length, **headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + content

    def answer(self) -> Answer:
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(": ")[::2] for line in lines if line]
        headers = {name.lower(): value for name, value in pairs}
        status = int(first.split()[1])
        if headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        elif status < 200:
            body = b""
        elif "content-length" in headers:
            body = self._take(int(headers["content-length"]))
        else:
            body = self.rest()
        return Answer(status, headers, body, by_lane=any(name == "date" for name, _ in pairs))

    def rest(self) -> bytes:
        """What comes until the server closes."""
        with suppress(ConnectionError):
            while got := self.socket.recv(65536):
                self._unread += got
        return self._unread

    def is_silent(self) -> bool:
        self.socket.settimeout(SILENCE)
        try:
            return not self.socket.recv(1) and False
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10)

    def close(self) -> None:
        self.socket.close()

    def _more(self) -> None:
        got = self.socket.recv(1 << 20)
        if not got:
            raise EOFError(self._unread)
        self._unread += got

    def _until(self, end: bytes) -> bytes:
        while end not in self._unread:
            self._more()
        found, _, self._unread = self._unread.partition(end)
        return found + end

    def _take(self, size: int) -> bytes:
        while len(self._unread) < size:
            self._more()
        found, self._unread = self._unread[:size], self._unread[size:]
        return found

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self._until(b"\r\n"), 16):
            parts.append(self._take(size))
            self._take(2)
        self._take(2)
        return b"".join(parts)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(servers, "COMMAND", [sys.executable, "-c", START])
        launched = servers.launch(tmp_path_factory.mktemp("lane") / "data")
    try:
        yield launched.wait_until_ready()
    finally:
        launched.stop()
    assert "Traceback" not in launched.output, launched.output


@pytest.fixture
def line(one: Server) -> Iterator[Line]:
    with opened(one) as line:
        yield line


@contextmanager
def opened(server: Server) -> Iterator[Line]:
    line = Line(server)
    try:
        yield line
    finally:
        line.close()


@contextmanager
def with_daphne(server: Server) -> Iterator[Line]:
    """A connection that is Daphne's already."""
    with opened(server) as line:
        assert not line.ask("GET", "/healthz").by_lane
        yield line


def reply(line: Line, said: bytes) -> tuple[Any, ...]:
    """The answer to this, without what may differ, and whether the connection goes on."""
    try:
        answer = line.send(said).answer()
        if answer.status == 100:
            answer = line.answer()
    except (EOFError, ConnectionError):
        return ("closed",)
    except TimeoutError:
        return ("silent",)
    headers: dict[str, Any] = {n: value for n, value in answer.headers.items() if n not in VARYING}
    if policy := headers.get("content-security-policy"):
        headers["content-security-policy"] = set(policy.split("; "))
    of_a_page = headers.get("content-type", "").startswith("text/html")  # holds the time
    body = b"" if of_a_page else re.sub(rb'"(id|enqueued_at|request_id)": ?"[^"]*"', b"", answer.body)
    return answer.status, headers, body, _goes_on(line)


def _goes_on(line: Line) -> bool:
    try:
        return line.ask("GET", "/healthz").status == 200
    except (EOFError, ConnectionError):
        return False


def new(**more: Any) -> dict[str, Any]:
    return {"workflow_id": "lane", **more}


def register(line: Line, workflow: str) -> str:
    worker = str(uuid.uuid4())
    workflows = [{"id": workflow, "queue": workflow}]
    answer = line.ask("POST", "/api/v1/workers", {"id": worker, "name": f"w-{worker}", "workflows": workflows})
    assert answer.status == 200, answer
    return worker


def poll(wait: float, seq: int = 1) -> dict[str, Any]:
    return {"seq": seq, "received": seq - 1, "capacity": 1, "wait": wait}


# -- both answer alike -------------------------------------------------------------------------------

WORKER = f"/api/v1/workers/{NOBODY}"
CASES: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "enqueue": ("POST", "/api/v1/executions", new(), {}),
    "enqueue a batch": ("POST", "/api/v1/executions/batch", {"executions": [new()]}, {}),
    "enqueue nonsense": ("POST", "/api/v1/executions", {"workflow": 1}, {}),
    "enqueue nothing": ("POST", "/api/v1/executions", None, {"Content-Length": "0"}),
    "enqueue as text": ("POST", "/api/v1/executions", new(), {"Content-Type": "text/plain"}),
    "enqueue for another host": ("POST", "/api/v1/executions", new(), {"Host": "evil.example:80"}),
    "enqueue for another port": ("POST", "/api/v1/executions", new(), {"Host": "127.0.0.1:1"}),
    "enqueue from a page": ("POST", "/api/v1/executions", new(), {"Origin": "http://evil.example"}),
    "enqueue from a site": ("POST", "/api/v1/executions", new(), {"Sec-Fetch-Site": "cross-site"}),
    "enqueue through a proxy": ("POST", "/api/v1/executions", new(), {"X-Forwarded-For": "127.0.0.1"}),
    "enqueue with a false key": ("POST", "/api/v1/executions", new(), {"Authorization": "Bearer polos_no"}),
    "enqueue with a root": ("POST", "/api/v1/executions", new(), {"Daphne-Root-Path": "/root"}),
    "look": ("GET", HOT, None, {}),
    "look with a body": ("GET", HOT, {"ignored": "/healthz"}, {}),
    "look and wait": ("GET", f"{HOT}?wait=0.01&wait=0.02", None, {}),
    "look and wait nonsense": ("GET", f"{HOT}?wait=nan", None, {}),
    "look keeping the connection": ("GET", HOT, None, {"Connection": "Keep-Alive"}),
    "exchange": ("POST", f"{WORKER}/exchange", poll(0), {}),
    "heartbeat": ("POST", f"{WORKER}/heartbeat", {}, {}),
    "leave": ("DELETE", WORKER, None, {}),
    "leave with a body": ("DELETE", WORKER, {}, {}),
    "steps": ("POST", "/api/v1/steps", {"steps": []}, {}),
    "spaces around a length": ("POST", "/api/v1/executions", new(), {"Content-Length": " \t 23 \t"}),
    "a tab in a header": ("GET", HOT, None, {"X-Tab": "a\tb"}),
    "latin-1 in a header": ("GET", HOT, None, {"X-Name": "Andr\xe9"}),
    "an empty header": ("GET", HOT, None, {"X-Empty": ""}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_lane_answers_as_daphne_does(one: Server, case: str) -> None:
    method, path, body, headers = CASES[case]
    with opened(one) as first, with_daphne(one) as second:
        ours, theirs = first.ask(method, path, body, **headers), second.ask(method, path, body, **headers)
        assert (ours.by_lane, theirs.by_lane) == (True, False)
        assert ours.headers.keys() - {"date"} == theirs.headers.keys()
        assert {"content-type", "content-length", "x-content-type-options", "cache-control"} <= ours.headers.keys()
    with opened(one) as first, with_daphne(one) as second:
        said = first.request(method, path, body, **headers)
        assert reply(first, said) == reply(second, said)


def head(*lines: bytes, first: bytes = b"GET %s HTTP/1.1" % HOT.encode()) -> bytes:
    return b"\r\n".join([first, b"Host: HOST", *lines, b"", b""])


POST = b"POST /api/v1/executions HTTP/1.1"
ENQUEUE = b'{"workflow_id": "lane"}'
JSON = b"Content-Type: application/json"
LENGTH = b"Content-Length: %d" % len(ENQUEUE)
INNER = b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n"
ODD: dict[str, bytes] = {
    # Where a request ends, in ways that two programs could see differently.
    "two lengths": head(JSON, LENGTH, LENGTH, first=POST) + ENQUEUE,
    "two different lengths": head(JSON, LENGTH, b"Content-Length: 0", first=POST) + ENQUEUE,
    "two lengths in one": head(JSON, b"Content-Length: 23, 23", first=POST) + ENQUEUE,
    "a negative length": head(JSON, b"Content-Length: -1", first=POST) + ENQUEUE,
    "a signed length": head(JSON, b"Content-Length: +23", first=POST) + ENQUEUE,
    "a length in words": head(JSON, b"Content-Length: many", first=POST) + ENQUEUE,
    "a hexadecimal length": head(JSON, b"Content-Length: 0x17", first=POST) + ENQUEUE,
    "an empty length": head(JSON, b"Content-Length:", first=POST) + ENQUEUE,
    "a length in other digits": head(JSON, "Content-Length: ２３".encode(), first=POST) + ENQUEUE,
    "a length with zeros": head(JSON, b"Content-Length: 000000000023", first=POST) + ENQUEUE,
    "a huge length": head(JSON, b"Content-Length: 99999999999999999999", first=POST),
    "a length beyond numbers": head(JSON, b"Content-Length: " + b"9" * 5_000, first=POST),
    "no length": head(JSON, first=POST),
    "length and chunks": head(JSON, LENGTH, b"Transfer-Encoding: chunked", first=POST) + b"0\r\n\r\n" + INNER,
    "chunks and length": head(JSON, b"Transfer-Encoding: chunked", LENGTH, first=POST) + b"0\r\n\r\n" + INNER,
    "chunks": head(JSON, b"Transfer-Encoding: chunked", first=POST) + b"17\r\n" + ENQUEUE + b"\r\n0\r\n\r\n",
    "wrong chunks": head(JSON, b"Transfer-Encoding: chunked", first=POST) + b"xx\r\n" + ENQUEUE,
    "chunks of another kind": head(JSON, b"Transfer-Encoding: xchunked", LENGTH, first=POST) + ENQUEUE,
    "hidden chunks": head(JSON, b"Transfer-Encoding : chunked", LENGTH, first=POST) + ENQUEUE,
    "an underlined length": head(JSON, b"Content_Length: 0", LENGTH, first=POST) + ENQUEUE,
    # More is wanted than an answer.
    "expect": head(JSON, LENGTH, b"Expect: 100-continue", first=POST) + ENQUEUE,
    "close": head(b"Connection: close"),
    "an upgrade": head(b"Connection: Upgrade", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
    "an upgrade to a socket": head(b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"),
    # Lines.
    "a folded header": head(b"X-A: a", b" b"),
    "a folded length": head(JSON, b"Content-Length:", b" 23", first=POST) + ENQUEUE,
    "a lone line feed": head(b"X-A: a\nContent-Length: 5"),
    "a lone return": head(b"X-A: a\rContent-Length: 5"),
    "a null": head(b"X-A: a\0b"),
    "a control character": head(b"X-A: a\x0bb"),
    "an escape": head(b"X-A: a\x1bb"),
    "a delete character": head(b"X-A: a\x7fb"),
    "a next line": head(b"X-A: a\x85b"),
    "no colon": head(b"X-A"),
    "no name": head(b": a"),
    "a space in a name": head(b"X A: a"),
    "a space behind a name": head(b"X-A : a"),
    "brackets in a name": head(b"X(A): a"),
    "signs in a name": head(b"X!#$%&'*+.^`|~: a"),
    "an accent in a name": head(b"X-\xe9: a"),
    "an underline in a name": head(b"X_A: a", b"X_Forwarded_For: 1.2.3.4"),
    "an empty line before": b"\r\n" + head(),
    "two empty lines before": b"\r\n\r\n" + head(),
    "a large head": head(b"X-A: " + b"a" * 12_000),
    "a head that is too large": head(b"X-A: " + b"a" * 20_000),
    "the largest small head": head(b"X-A: " + b"a" * (8_192 - len(head()) - 7)),
    "many headers": head(*[b"X-%d: a" % number for number in range(600)]),
    # First lines.
    "no host": head().replace(b"Host: HOST\r\n", b""),
    "two hosts": head(b"Host: evil.example"),
    "an empty host": head().replace(b"HOST", b""),
    "a user in the host": head().replace(b"HOST", b"evil@HOST"),
    "HTTP/1.0": head(first=b"GET %s HTTP/1.0" % HOT.encode()),
    "HTTP/1.0 kept": head(b"Connection: keep-alive", first=b"GET %s HTTP/1.0" % HOT.encode()),
    "HTTP/1.2": head(first=b"GET %s HTTP/1.2" % HOT.encode()),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method in small letters": head(first=b"get %s HTTP/1.1" % HOT.encode()),
    "another method": head(first=b"OPTIONS %s HTTP/1.1" % HOT.encode()),
    "a method with a tail": head(first=b"GETS %s HTTP/1.1" % HOT.encode()),
    "two spaces": head(first=b"GET  %s HTTP/1.1" % HOT.encode()),
    "no version": head(first=b"GET %s" % HOT.encode()),
    "a whole address": head(first=b"GET http://HOST%s HTTP/1.1" % HOT.encode()),
    "another server's address": head(first=b"GET http://evil.example%s HTTP/1.1" % HOT.encode()),
    "an escaped path": head(first=b"GET /api/v1/%%65xecutions/%s HTTP/1.1" % NOBODY.encode()),
    "an escaped slash": head(first=b"GET /api/v1%%2fexecutions/%s HTTP/1.1" % NOBODY.encode()),
    "two slashes in front": head(first=b"GET /%s HTTP/1.1" % HOT.encode()),
    "two slashes within": head(first=b"GET /api/v1//executions/%s HTTP/1.1" % NOBODY.encode()),
    "dots": head(first=b"GET /api/v1/../v1/executions/%s HTTP/1.1" % NOBODY.encode()),
    "dots to a page": head(first=b"GET /api/v1/../../healthz HTTP/1.1"),
    "a slash behind": head(first=b"GET %s/ HTTP/1.1" % HOT.encode()),
    "a fragment": head(first=b"GET %s#a HTTP/1.1" % HOT.encode()),
    "an empty query": head(first=b"GET %s? HTTP/1.1" % HOT.encode()),
    "a null in the path": head(first=b"GET %s\0 HTTP/1.1" % HOT.encode()),
    "an accent in the path": head(first=b"GET %s\xc3\xa9 HTTP/1.1" % HOT.encode()),
    "an id without dashes": head(first=b"GET %s HTTP/1.1" % HOT.replace("-", "").encode()),
    "no id": head(first=b"GET /api/v1/executions/ HTTP/1.1"),
    "a list": head(first=b"GET /api/v1/executions?limit=1&status=failed HTTP/1.1"),
    "not HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100 + b"\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("case", ODD)
def test_what_is_odd_is_answered_by_daphne_or_as_by_daphne(one: Server, case: str) -> None:
    with opened(one) as first, with_daphne(one) as second, opened(one) as third:
        said = ODD[case].replace(b"HOST", first.name.encode())
        assert third.ask("GET", HOT).by_lane
        expected = reply(second, said)
        assert reply(first, said) == expected
        assert reply(third, said) == expected


def test_lines_that_end_with_a_line_feed_only_are_no_request(one: Server) -> None:
    with opened(one) as first, with_daphne(one) as second:
        for line in (first, second):
            assert line.send(head().replace(b"HOST", line.name.encode()).replace(b"\r\n", b"\n")).is_silent()


def test_a_header_of_spaces_costs_no_time(line: Line) -> None:
    began = time.monotonic()
    line.send(head(b"X-A: " + b" " * 7_000 + b"\0").replace(b"HOST", line.name.encode()))
    assert b"400 Bad Request" in line.rest()
    assert time.monotonic() - began < 2


# -- packets -----------------------------------------------------------------------------------------


def test_a_request_may_be_split_at_every_byte(line: Line) -> None:
    said = line.request("POST", f"{WORKER}/heartbeat", {})
    for index in range(1, len(said)):
        answer = line.send(said[:index], said[index:]).answer()
        assert (answer.status, answer.by_lane) == (410, True)


def test_a_request_may_come_byte_by_byte(line: Line) -> None:
    answer = line.send(*(bytes([each]) for each in line.request("POST", "/api/v1/executions", new()))).answer()
    assert (answer.status, answer.by_lane) == (201, True)


def test_requests_in_one_packet_are_answered_one_after_the_other(line: Line) -> None:
    ids = [str(uuid.uuid4()) for _ in range(50)]
    line.send(b"".join(line.request("GET", f"/api/v1/executions/{each}") for each in ids))
    for each in ids:
        answer = line.answer()
        assert each in answer.json["detail"] and answer.by_lane


def test_requests_with_the_same_head_have_bodies_of_their_own(line: Line) -> None:
    ids = [str(uuid.uuid4()) for _ in range(4)]
    bodies = [{"workflow_id": "w", "id": id, "payload": payload} for id, payload in zip(ids, "abcc", strict=True)]
    bodies[2]["payload"] = "longer"
    answers = [line.ask("POST", "/api/v1/executions", body) for body in bodies]
    assert [(each.status, each.by_lane, each.json["id"]) for each in answers] == [(201, True, id) for id in ids]
    assert line.ask("POST", "/api/v1/executions", bodies[3]).status == 200
    assert line.ask("POST", "/api/v1/executions", bodies[3], Authorization="Bearer x").status == 401


def test_daphne_takes_over_in_the_middle_of_a_packet(line: Line) -> None:
    enqueue = line.request("POST", "/api/v1/executions", new())
    health = line.request("GET", "/healthz")
    line.send(enqueue + health + enqueue + health + enqueue[:-5]).send(enqueue[-5:])
    answers = [line.answer() for _ in range(5)]
    assert [answer.status for answer in answers] == [201, 200, 201, 200, 201]
    assert [answer.by_lane for answer in answers] == [True, False, False, False, False]


def test_daphne_takes_over_between_packets(line: Line) -> None:
    assert line.ask("GET", HOT).by_lane
    said = line.request("PUT", "/api/v1/limits/lane", {"limit": 2, "reason": "a test"})
    assert line.send(said[:10], said[10:-3], said[-3:]).answer().status in (200, 404)
    assert line.ask("GET", "/api/v1/queues/nothing").status == 404
    assert line.ask("GET", HOT).status == 404


def test_daphne_takes_over_behind_a_long_poll(line: Line) -> None:
    queued = line.ask("POST", "/api/v1/executions", new()).json["id"]
    began = time.monotonic()
    line.send(line.request("GET", f"/api/v1/executions/{queued}?wait=0.5") + line.request("GET", "/healthz"))
    assert line.answer().json["id"] == queued
    assert time.monotonic() - began > 0.4
    assert not line.answer().by_lane


def test_a_refused_request_ends_what_came_with_it(line: Line) -> None:
    ours = line.request("GET", HOT)
    line.send(ours + line.request("POST", "/api/v1/executions", new(), **{"Content-length": "1"}) + ours)
    assert line.answer().by_lane
    assert line.rest().startswith(b"HTTP/1.1 400 ")
    assert line.rest().count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("before", [0, 1])
def test_the_live_socket_opens_on_such_a_connection(line: Line, before: int, cookie: str) -> None:
    for _ in range(before):
        assert line.ask("GET", HOT).by_lane
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": f"http://{line.name}",
    }  # fmt: skip
    said = line.request("GET", "/live/", **upgrade, Cookie=cookie)
    line.send(said[:40], said[40:])
    assert line._until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")


@pytest.fixture(scope="module")
def cookie(one: Server) -> str:
    person, password = Browser(), "correct horse battery staple"
    person.open(one.signin_link)
    person.send()
    assert person.send(new_password1=password, new_password2=password) == 200
    return "; ".join(f"{each.name}={each.value}" for each in person.cookies)


# -- sizes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "status"), [(1 << 20, 413), ((1 << 20) + 1, 413), ((16 << 20) + 1, 413)])
def test_a_body_that_is_too_large_is_refused_alike(one: Server, size: int, status: int) -> None:
    for daphnes in (False, True):
        with (with_daphne if daphnes else opened)(one) as line:
            said = b"\r\n".join([JSON, b"Content-Length: %d" % size])
            line.send(head(said, first=POST).replace(b"HOST", line.name.encode()))
            with suppress(ConnectionError):  # it need not wait for all of it
                line.send(b'{"workflow_id":"lane","payload":"' + b"a" * (size - 35) + b'"}')
            answer = line.answer()
            assert answer.status == status
            assert answer.by_lane == (not daphnes and size <= 1 << 20)


def test_a_large_batch_goes_through_daphne(line: Line) -> None:
    batch = {"executions": [new(payload="a" * 200_000) for _ in range(10)]}
    answer = line.ask("POST", "/api/v1/executions/batch", batch)
    assert (answer.status, answer.by_lane) == (200, False)


def test_what_is_sent_ahead_waits_outside(line: Line) -> None:
    queued = line.ask("POST", "/api/v1/executions", new()).json["id"]
    large = line.request("POST", "/api/v1/executions", new(payload="a" * 250_000))
    line.send(line.request("GET", f"/api/v1/executions/{queued}?wait=0.3"))
    line.send(large * 12)
    assert line.answer().json["id"] == queued
    for _ in range(12):
        answer = line.answer()
        assert (answer.status, answer.by_lane) == (201, True)


# -- clients that go away, or do not ----------------------------------------------------------------


@pytest.mark.parametrize(("before", "polls", "pause"), [(0, 1, 0), (0, 1, 0.4), (0, 3, 0.4), (1, 1, 0), (5, 2, 0)])
def test_nothing_is_claimed_for_a_client_that_went(
    one: Server, line: Line, before: int, polls: int, pause: float
) -> None:
    """Long polls behind short requests or not, with a client that leaves at once or later."""
    workflow = f"gone-{uuid.uuid4()}"
    workers = [register(line, workflow) for _ in range(polls)]
    with opened(one) as leaving:
        short = line.request("POST", "/api/v1/executions", new()) * before
        leaving.send(
            short
            + b"".join(line.request("POST", f"/api/v1/workers/{each}/exchange", poll(20)) for each in workers)
        )
        time.sleep(pause)
    time.sleep(0.2 if pause else 0.5)
    queued = line.ask("POST", "/api/v1/executions", {"workflow_id": workflow}).json["id"]
    time.sleep(0.1)
    assert line.ask("GET", f"/api/v1/executions/{queued}").json["status"] == "queued"
    claimed = line.ask("POST", f"/api/v1/workers/{workers[0]}/exchange", poll(1, seq=2))
    assert [each["id"] for each in claimed.json["executions"]] == [queued]


def test_who_says_nothing_more_is_let_go(one: Server) -> None:
    began = time.monotonic()
    with ExitStack() as stack:
        silent, half_a_head, half_a_body, kept, poller = (stack.enter_context(opened(one)) for _ in range(5))
        said = kept.request("POST", "/api/v1/executions", new())
        half_a_head.send(said[:20])
        half_a_body.send(said[:-1])
        queued = kept.send(said).answer().json["id"]
        poller.send(kept.request("GET", f"/api/v1/executions/{queued}?wait={IDLE_SECONDS + 1}"))
        assert [each.rest() for each in (silent, half_a_head, half_a_body, kept)] == [b""] * 4
        assert IDLE_SECONDS * 0.9 < time.monotonic() - began < IDLE_SECONDS * 2 + 1
        assert poller.answer().json["id"] == queued


def test_who_takes_no_answers_costs_no_memory_and_is_let_go(one: Server) -> None:
    with opened(one) as line, opened(one) as other:
        queued = other.ask("POST", "/api/v1/executions", new(payload="a" * 250_000)).json["id"]
        line.send(line.request("GET", f"/api/v1/executions/{queued}") * 1_000)
        server = psutil.Process(one.process.pid)
        before = server.memory_info().rss
        time.sleep(0.5)
        assert other.ask("GET", HOT).status == 404
        assert server.memory_info().rss - before < 30_000_000
        deadline = time.monotonic() + IDLE_SECONDS * 2 + 2
        while _open(server, line):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def _open(server: psutil.Process, line: Line) -> bool:
    """Whether the server keeps its end of this line."""
    mine = line.socket.getsockname()[1]
    return any(each.raddr and each.raddr.port == mine for each in server.net_connections("tcp"))


def test_answers_that_are_taken_late_are_whole_and_in_order(one: Server, line: Line) -> None:
    queued = line.ask("POST", "/api/v1/executions", new(payload="a" * 250_000)).json["id"]
    for last in ("/healthz", HOT):
        with opened(one) as slow:
            looks = slow.request("GET", f"/api/v1/executions/{queued}") * 40
            slow.send(looks + slow.request("GET", last))
            time.sleep(0.5)
            for _ in range(40):
                answer = slow.answer()
                assert (answer.status, answer.by_lane, answer.json["payload"]) == (200, True, "a" * 250_000)
            assert slow.answer().by_lane == (last == HOT)


def test_five_hundred_at_once(one: Server) -> None:
    with ExitStack() as stack:
        lines = []
        for _ in range(500):
            lines.append(stack.enter_context(opened(one)))
            lines[-1].send(lines[0].request("GET", HOT))
        assert {line.answer()[::3] for line in lines} == {(404, True)}


# -- the end -----------------------------------------------------------------------------------------


def test_stopping_answers_what_is_under_way(one: Server) -> None:
    """Comes last, because it is the same server."""
    with ExitStack() as stack:

        def waiting(method: str, path: str, body: Any = None) -> Line:
            line = stack.enter_context(opened(one))
            return line.send(line.request(method, path, body))

        with opened(one) as line:
            queued = line.ask("POST", "/api/v1/executions", new()).json["id"]
            workers = [register(line, "other") for _ in range(20)]
            lines = [waiting("POST", f"/api/v1/workers/{each}/exchange", poll(20)) for each in workers]
            lines += [waiting("GET", f"/api/v1/executions/{queued}?wait=20") for _ in range(10)]
            time.sleep(0.5)
        lines += [waiting("POST", "/api/v1/executions", new()) for _ in range(10)]
        began = time.monotonic()
        one.process.send_signal(signal.SIGTERM)
        answers = [line.answer() for line in lines]
        assert [answer.status for answer in answers] == [200] * 30 + [201] * 10
        assert all(answer.by_lane for answer in answers)
        one.wait_for_end()
        assert one.process.returncode == 0
        assert time.monotonic() - began < 6
        assert all(line.rest() == b"" for line in lines)
