"""The SDK's HTTP client and servers that misbehave: no answer is mixed up, nothing hangs, nothing is left open."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from polos import _wire
from polos._errors import RequestRefused, ServerUnavailable
from polos._http import Http, Unreachable
from polos._settings import Settings
from polos._wire import Broken, TooLong, Wire

SECONDS = 5.0  # the longest that any request here may take
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\no\r\n1;name=value\r\nk\r\n0\r\nTrailer: value\r\n\r\n"
)

Talk = Callable[["Line"], Awaitable[None]]


class Line:
    """The server's end of one connection."""

    def __init__(self, server: Misbehaving, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.number = len(server.lines)

    async def hear(self) -> bytes:
        """One request, head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
        body = await self.reader.readexactly(int(lengths[0][16:])) if lengths else b""
        self.server.heard.append(head + body)
        return head + body

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(0.001)

    async def until_closed(self) -> None:
        with suppress(ConnectionError):
            while await self.reader.read(65536):
                pass


class Misbehaving:
    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.lines: list[Line] = []
        self.heard: list[bytes] = []
        self.ended = asyncio.Event()
        self.url = ""

    async def until_heard(self, count: int) -> None:
        while len(self.heard) < count:  # noqa: ASYNC110  (there are as many places as tests that hear something)
            await asyncio.sleep(0.001)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(self, reader, writer)
        self.lines.append(line)
        try:
            await self.talk(line)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # the client or the test is over
            pass
        finally:
            writer.close()
            self.ended.set()


@asynccontextmanager
async def misbehaving(talk: Talk, *, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[Misbehaving]:
    server = Misbehaving(talk)
    listening = await asyncio.start_server(server.serve, host, 0, **options)
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if options.get("ssl") else "http"
    server.url = f"{scheme}://{shown}:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()


def saying(*parts: bytes, keep: bool = False) -> Talk:
    """Answers every request with these packets; then closes, or waits for the next one."""

    async def talk(line: Line) -> None:
        while True:
            await line.hear()
            await line.say(*parts)
            if not keep:
                return

    return talk


@asynccontextmanager
async def wire_to(server: Misbehaving, *, most: int = 1_000_000) -> AsyncIterator[Wire]:
    wire = Wire(server.url, {}, most=most)
    try:
        async with asyncio.timeout(SECONDS):
            yield wire
    finally:
        await wire.close()


@asynccontextmanager
async def http_to(url: str) -> AsyncIterator[Http]:
    http = Http(Settings(api_url=url, api_key=None, worker_name="tests", max_concurrent=1))
    try:
        async with asyncio.timeout(SECONDS):
            yield http
    finally:
        await http.close()


# -- answers that are good ---------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [OK, CHUNKED], ids=["length", "chunked"])
async def test_an_answer_may_be_split_at_every_byte(answer: bytes) -> None:
    async def talk(line: Line) -> None:
        for index in range(1, len(answer)):
            await line.hear()
            await line.say(answer[:index], answer[index:])

    async with misbehaving(talk) as server, wire_to(server) as wire:
        for _ in range(1, len(answer)):
            assert (await wire.request("GET", "/", None))[::2] == (200, b"ok")
        assert len(server.lines) == 1


async def test_an_answer_may_come_byte_by_byte() -> None:
    async with (
        misbehaving(saying(*(bytes([each]) for each in CHUNKED), keep=True)) as server,
        wire_to(server) as wire,
    ):
        assert (await wire.request("GET", "/", None)).body == b"ok"


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nServer: old\r\n\r\n"])
async def test_an_answer_without_length_ends_with_its_connection(head: bytes) -> None:
    async with misbehaving(saying(head + b"o", b"k")) as server, wire_to(server) as wire:
        for _ in range(2):
            assert (await wire.request("GET", "/", None)).body == b"ok"
        assert len(server.lines) == 2


async def test_announcements_before_the_answer_are_not_the_answer() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with misbehaving(saying(early, OK, keep=True)) as server, wire_to(server) as wire:
        for _ in range(2):
            status, headers, body = await wire.request("POST", "/", b"{}")
            assert (status, body, "link" in headers) == (200, b"ok", False)
        assert len(server.lines) == 1


async def test_no_content_needs_no_length_and_keeps_the_connection() -> None:
    async with (
        misbehaving(saying(b"HTTP/1.1 204 No Content\r\n\r\n", keep=True)) as server,
        wire_to(server) as wire,
    ):
        for _ in range(2):
            assert (await wire.request("DELETE", "/", None))[::2] == (204, b"")
        assert len(server.lines) == 1


async def test_a_server_that_wants_to_close_gets_its_way() -> None:
    talk = saying(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), keep=True)
    async with misbehaving(talk) as server, wire_to(server) as wire:
        for _ in range(2):
            assert (await wire.request("GET", "/", None)).body == b"ok"
        assert len(server.lines) == 2


async def test_what_is_sent_is_plain_http() -> None:
    async with misbehaving(saying(OK, keep=True)) as server, wire_to(server) as wire:
        await wire.request("GET", "/a?b=c", None)
        await wire.request("POST", "/a", None)
        await wire.request("POST", "/a", b"{}")
        host = server.url.removeprefix("http://").encode()
        assert server.heard == [
            b"GET /a?b=c HTTP/1.1\r\nHost: " + host + b"\r\n\r\n",
            b"POST /a HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 0\r\n\r\n",
            b"POST /a HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: 2\r\n\r\n{}",
        ]


async def test_an_early_refusal_of_a_large_request_is_heard() -> None:
    async def talk(line: Line) -> None:
        await line.reader.readuntil(b"\r\n\r\n")
        await line.say(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await line.until_closed()

    async with misbehaving(talk) as server, wire_to(server) as wire:
        assert (await wire.request("POST", "/", bytes(8_000_000))).status == 413
        await server.ended.wait()


# -- kept connections that end -----------------------------------------------------------------------


async def test_a_kept_connection_that_ended_is_not_used() -> None:
    async with misbehaving(saying(OK)) as server, wire_to(server) as wire:
        await wire.request("GET", "/1", None)
        await asyncio.sleep(0.02)
        await wire.request("GET", "/2", None)
        assert [each[:6] for each in server.heard] == [b"GET /1", b"GET /2"]


async def test_a_kept_connection_that_ends_while_we_write_is_silently_replaced() -> None:
    async def talk(line: Line) -> None:
        await line.hear()
        await line.say(OK)
        if line.number == 0:
            await line.hear()  # and closes

    async with misbehaving(talk) as server, wire_to(server) as wire:
        await wire.request("GET", "/1", None)
        assert (await wire.request("GET", "/2", None)).body == b"ok"
        assert [each[:6] for each in server.heard] == [b"GET /1", b"GET /2", b"GET /2"]


async def test_a_request_is_silently_repeated_only_once() -> None:
    async def talk(line: Line) -> None:
        if (await line.hear()).startswith(b"GET /first"):
            await gathered.wait()
            await line.say(OK)
            await line.hear()

    gathered = asyncio.Barrier(3)
    async with misbehaving(talk) as server, wire_to(server) as wire:
        await asyncio.gather(*(wire.request("GET", "/first", None) for _ in range(3)))
        with pytest.raises(Broken):
            await wire.request("GET", "/second", None)
        assert sum(each.startswith(b"GET /second") for each in server.heard) == 2


async def test_a_request_whose_answer_had_begun_is_not_silently_repeated() -> None:
    async def talk(line: Line) -> None:
        await line.hear()
        await line.say(OK)
        await line.hear()
        await line.say(OK[:-1])

    async with misbehaving(talk) as server, wire_to(server) as wire:
        await wire.request("GET", "/", None)
        with pytest.raises(Broken):
            await wire.request("GET", "/", None)
        assert len(server.heard) == 2


async def test_a_connection_that_has_been_kept_for_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wire, "IDLE_SECONDS", 0.0)
    async with misbehaving(saying(OK, keep=True)) as server, wire_to(server) as wire:
        for _ in range(3):
            await wire.request("GET", "/", None)
        assert len(server.lines) == 3


# -- answers that are bad ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        CHUNKED[:-2],
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.7\r\n",
        b"<html>not http</html>",
        b"\x00\xff" * 50,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\nok",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_what_is_not_a_whole_answer_is_none(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with misbehaving(saying(said)) as server, wire_to(server) as wire:
        with pytest.raises(Broken):
            await wire.request("GET", "/", None)
    assert not caplog.records


@pytest.mark.parametrize("behind", [b"garbage", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", OK])
@pytest.mark.parametrize("packets", [1, 2])
async def test_what_comes_behind_an_answer_is_not_the_next_one(behind: bytes, packets: int) -> None:
    async def talk(line: Line) -> None:
        await line.hear()
        if line.number == 0:
            await (line.say(OK + behind) if packets == 1 else line.say(OK, behind))
            await line.hear()
            await line.say(b"evil")
        else:
            await line.say(OK.replace(b"ok", b"ny"))

    async with misbehaving(talk) as server, wire_to(server) as wire:
        assert (await wire.request("GET", "/", None)).body == b"ok"
        async with asyncio.timeout(5):
            while any(connection.usable for connection in wire._idle):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert (await wire.request("GET", "/", None)).body == b"ny"


@pytest.mark.parametrize("hello", [b"220 mail.example.com ESMTP\r\n", OK])
async def test_a_server_that_speaks_first_is_not_believed(hello: bytes) -> None:
    async def talk(line: Line) -> None:
        await line.say(hello)
        await line.hear()

    async with misbehaving(talk) as server, http_to(server.url) as http:
        with suppress(Unreachable):  # when it is quick enough, what it says passes for an answer
            await http.once("GET", "/", timeout=1)


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-Header: value\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nX-Header: ", b"value" * 1_000),
        (b"HTTP/1.1 200 O", b"K" * 5_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: value\r\n" * 100),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", b";name=value" * 1_000),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 1_000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", b"a" * 5_000),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 5_000),
    ],
    ids=["headers", "header", "status", "1xx", "trailers", "extension", "chunks", "length", "no length"],
)
async def test_an_answer_without_end_is_cut_off(first: bytes, more: bytes) -> None:
    async def talk(line: Line) -> None:
        await line.hear()
        await line.say(first)
        while True:
            line.writer.write(more)
            await line.writer.drain()
            await asyncio.sleep(0)

    async with misbehaving(talk) as server, wire_to(server, most=100_000) as wire:
        with pytest.raises((Broken, TooLong)):
            await wire.request("GET", "/", None)
        await server.ended.wait()


async def test_an_answer_may_be_as_large_as_is_allowed_and_no_larger() -> None:
    async def talk(line: Line) -> None:
        while True:
            size = int((await line.hear()).split()[1][1:])
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    async with misbehaving(talk) as server, wire_to(server, most=300_000) as wire:
        assert len((await wire.request("GET", "/300000", None)).body) == 300_000
        with pytest.raises(TooLong):
            await wire.request("GET", "/300001", None)
        assert len((await wire.request("GET", "/10", None)).body) == 10


# -- giving up ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", OK[:-1]], ids=["silent", "half an answer"])
async def test_a_connection_without_an_answer_in_time_is_not_used_again(said: bytes) -> None:
    async def talk(line: Line) -> None:
        await line.hear()
        if line.number == 0:
            await line.say(said)
            await line.until_closed()
            line.server.ended.set()
        else:
            await line.say(OK.replace(b"ok", b"42"))

    async with misbehaving(talk) as server, http_to(server.url) as http:
        with pytest.raises(Unreachable, match="no answer within"):
            await http.once("GET", "/", timeout=0.05)
        assert await http.once("GET", "/", timeout=1) == 42
        await server.ended.wait()


async def test_a_cancelled_request_ends_its_connection() -> None:
    async def talk(line: Line) -> None:
        await line.hear()
        await line.say(OK[:-1])
        if line.number == 0:
            await line.until_closed()
        else:
            await line.say(b"y")

    async with misbehaving(talk) as server, wire_to(server) as wire:
        task = asyncio.create_task(wire.request("GET", "/", None))
        await server.until_heard(1)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.ended.wait()
        assert (await wire.request("GET", "/", None)).body == b"oy"


async def test_a_server_that_accepts_nobody_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_wire, "CONNECT_SECONDS", 0.05)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        address = deaf.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)  # the line in front of the door is full now
            async with http_to(f"http://127.0.0.1:{address[1]}") as http:
                with pytest.raises(Unreachable, match="no connection within"):
                    await http.once("GET", "/", timeout=5)


async def test_nobody_there_is_told_as_such() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with http_to(url) as http:
        with pytest.raises(Unreachable, match="cannot be reached"):
            await http.once("GET", "/", timeout=5)
        with pytest.raises(ServerUnavailable):
            await http.call("GET", "/", lane="test", patience=0.0)


# -- JSON and problems on top of it ------------------------------------------------------------------


@pytest.mark.parametrize("status", [b"408 Request Timeout", b"502 Bad Gateway", b"503 Service Unavailable"])
async def test_what_a_proxy_says_in_passing_is_no_refusal(status: bytes) -> None:
    async def talk(line: Line) -> None:
        await line.hear()
        busy = b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status
        await line.say(busy if line.number == 0 else OK.replace(b"ok", b"42"))

    async with misbehaving(talk) as server, http_to(server.url) as http:
        assert await http.call("GET", "/", lane="test") == 42


async def test_an_answer_that_is_too_large_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polos._http.MAX_RESPONSE", 1)
    async with misbehaving(saying(OK, keep=True)) as server, http_to(server.url) as http:
        with pytest.raises(RequestRefused, match="larger than"):
            await http.call("GET", "/", lane="test")
        assert len(server.heard) == 1


@pytest.mark.parametrize("path", ["/polos", "/polos/", "/a/b", ""])
async def test_the_address_may_have_a_path(path: str) -> None:
    async with misbehaving(saying(OK.replace(b"ok", b"42"))) as server, http_to(server.url + path) as http:
        await http.once("GET", "/executions", timeout=1)
        assert server.heard[0].split()[1].decode() == f"{path.rstrip('/')}/api/v1/executions"


async def test_the_address_may_be_ipv6() -> None:
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on this machine")
    async with misbehaving(saying(OK), host="::1") as server, wire_to(server) as wire:
        assert (await wire.request("GET", "/", None)).body == b"ok"
        assert f"Host: {server.url.removeprefix('http://')}\r\n".encode() in server.heard[0]


# -- TLS ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody vouches for, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = dt.datetime.now(dt.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(secret + made.public_bytes(pem))
    return path


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_an_untrusted_certificate_is_refused_and_named(certificate: Path) -> None:
    async with misbehaving(saying(OK), ssl=tls(certificate)) as server, http_to(server.url) as http:
        with pytest.raises(Unreachable, match="certificate that is not trusted"):
            await http.once("GET", "/", timeout=5)
        assert not server.heard


async def test_a_trusted_certificate_is_spoken_to(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    talk = saying(CHUNKED, keep=True)
    async with misbehaving(talk, ssl=tls(certificate)) as server, wire_to(server) as wire:
        for _ in range(3):
            assert (await wire.request("POST", "/", bytes(200_000))).body == b"ok"
        assert len(server.lines) == 1


@pytest.mark.parametrize("hello", [b"", b"first"])
async def test_a_server_that_closes_behind_the_handshake(
    hello: bytes, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def talk(line: Line) -> None:
        line.writer.write(hello)

    async with misbehaving(talk, ssl=tls(certificate)) as server, wire_to(server) as wire:
        with pytest.raises((Broken, OSError)):
            await wire.request("GET", "/", None)


async def test_plain_http_where_tls_is_expected(certificate: Path) -> None:
    async def plainly(line: Line) -> None:
        await line.reader.read(1)
        await line.say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    async with misbehaving(plainly) as plain, http_to(plain.url.replace("http:", "https:")) as http:
        with pytest.raises(Unreachable):
            await http.once("GET", "/", timeout=5)
    async with misbehaving(saying(OK), ssl=tls(certificate)) as secure:  # noqa: SIM117
        async with http_to(secure.url.replace("https:", "http:")) as http:
            with pytest.raises(Unreachable):
                await http.once("GET", "/", timeout=5)


# -- many, and the end -------------------------------------------------------------------------------


async def test_many_requests_at_once_get_each_its_own_answer() -> None:
    async def talk(line: Line) -> None:
        while True:
            path = (await line.hear()).split()[1]
            await asyncio.sleep(0.01)
            await line.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(path) + path)

    async with misbehaving(talk, backlog=300) as server, wire_to(server) as wire:
        for _ in range(2):
            answers = await asyncio.gather(*(wire.request("GET", f"/{n}", None) for n in range(200)))
            assert [answer.body for answer in answers] == [b"/%d" % n for n in range(200)]
        assert len(server.lines) <= 200


async def test_closing_leaves_nothing_open(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def talk(line: Line) -> None:
        while b"/silence" not in await line.hear():
            await line.say(OK)
        await line.until_closed()

    kinds: tuple[dict[str, Any], ...] = ({}, {"ssl": tls(certificate)})
    for options in kinds:
        async with misbehaving(talk, **options) as server:
            before = psutil.Process().num_fds()
            async with wire_to(server) as wire:
                await asyncio.gather(*(wire.request("GET", "/", None) for _ in range(20)))
                waiting = [asyncio.create_task(wire.request("GET", "/silence", None)) for _ in range(30)]
                await server.until_heard(50)
                connecting = asyncio.create_task(wire.request("GET", "/late", None))
                await asyncio.sleep(0)
                await wire.close()
                ended = await asyncio.gather(*waiting, connecting, return_exceptions=True)
                assert all(isinstance(each, Broken) for each in ended), ended
            for _ in range(200):
                if psutil.Process().num_fds() <= before:
                    break
                await asyncio.sleep(0.01)
            assert psutil.Process().num_fds() <= before
        assert not any(each.startswith(b"GET /late") for each in server.heard)


async def test_a_closed_client_opens_connections_again() -> None:
    async with misbehaving(saying(OK, keep=True)) as server, wire_to(server) as wire:
        for _ in range(2):
            assert (await wire.request("GET", "/", None)).body == b"ok"
            await wire.close()
        assert len(server.lines) == 2
