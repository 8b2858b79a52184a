"""API keys: who may do what, and when a key stops working."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from queues import keys
from queues.engine import Engine
from queues.keys import BadKey, Principal, create_key, revoke_key
from queues.models import ApiKey

from .asgi_client import Client
from .conftest import MakeKey, claim, in_database, join

EXECUTIONS = "/api/v1/executions"

# What a key of each scope may do: path, method, body → scopes that get further than 403.
MATRIX: list[tuple[str, str, Any, set[str]]] = [
    ("POST", EXECUTIONS, {"workflow_id": "w"}, {"full", "enqueue"}),
    ("POST", f"{EXECUTIONS}/batch", {"executions": [{"workflow_id": "w"}]}, {"full", "enqueue"}),
    ("GET", EXECUTIONS, None, {"full", "enqueue"}),
    ("GET", f"{EXECUTIONS}/{uuid4()}", None, {"full", "enqueue"}),
    ("GET", f"{EXECUTIONS}/{uuid4()}/steps", None, {"full", "enqueue"}),
    ("GET", f"{EXECUTIONS}/{uuid4()}/logs", None, {"full", "enqueue"}),
    ("GET", f"{EXECUTIONS}/{uuid4()}/stream", None, {"full", "enqueue"}),
    ("POST", f"{EXECUTIONS}/{uuid4()}/cancellation", None, {"full"}),
    ("POST", f"{EXECUTIONS}/{uuid4()}/retry", None, {"full"}),
    ("GET", "/api/v1/queues", None, {"full", "enqueue"}),
    ("GET", "/api/v1/queues/q", None, {"full", "enqueue"}),
    ("PUT", "/api/v1/limits/q", {"limit": 1}, {"full"}),
    ("DELETE", "/api/v1/limits/q", None, {"full"}),
    ("PUT", "/api/v1/pauses/q", {}, {"full"}),
    ("DELETE", "/api/v1/pauses/q", None, {"full"}),
    ("GET", "/api/v1/workers", None, {"full", "enqueue"}),
    (
        "POST",
        "/api/v1/workers",
        {"id": str(uuid4()), "name": "w", "workflows": [{"id": "w", "queue": "q"}]},
        {"full", "work"},
    ),
    ("POST", f"/api/v1/workers/{uuid4()}/exchange", {}, {"full", "work"}),
    ("POST", f"/api/v1/workers/{uuid4()}/heartbeat", {}, {"full", "work"}),
    ("DELETE", f"/api/v1/workers/{uuid4()}", None, {"full", "work"}),
    (
        "POST",
        "/api/v1/steps",
        {"steps": [{"execution_id": str(uuid4()), "token": str(uuid4()), "key": "k"}]},
        {"full", "work"},
    ),
    ("POST", "/api/v1/logs", {"logs": [{"execution_id": str(uuid4()), "token": str(uuid4())}]}, {"full", "work"}),
]


@pytest.mark.parametrize("scope", ["full", "enqueue", "work"])
async def test_a_key_may_do_what_its_scope_says(
    engine: Engine, make_key: MakeKey, scope: str, hot_first: bool
) -> None:
    _, key = await make_key("key", scope)
    client = Client(key=key, hot_first=hot_first)
    for method, path, body, scopes in MATRIX:
        answer = await client.call(method, path, body)
        assert (answer.status != 403) == (scope in scopes), (method, path, answer)
        assert answer.status < 500


async def test_without_a_key_nothing_works(engine: Engine, hot_first: bool) -> None:
    for method, path, body, _ in MATRIX:
        answer = await Client(hot_first=hot_first).call(method, path, body)
        assert answer.status == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"


async def test_a_key_that_is_not_exactly_right_is_refused(
    engine: Engine, make_key: MakeKey, hot_first: bool
) -> None:
    made, key = await make_key()
    swapped = key[:-8] + ("0" * 8)
    forged_secret = "0" * 64
    forged = f"polos_{made.id}_{forged_secret}{keys._checksum(made.id, forged_secret)}"
    unknown = f"polos_{'0' * 16}_{forged_secret}{keys._checksum('0' * 16, forged_secret)}"
    for wrong in (key[:-1], key + "0", swapped, forged, unknown, "", "x" * 10_000, "polos__", "žluť"):
        answer = await Client(hot_first=hot_first).get(EXECUTIONS, headers={"authorization": f"Bearer {wrong}"})
        assert answer.status == 401, wrong
    for kind in ("Basic", "Token", ""):
        assert (await Client().get(EXECUTIONS, headers={"authorization": f"{kind} {key}"})).status == 401


async def test_a_key_is_taken_from_the_header_only(engine: Engine, make_key: MakeKey) -> None:
    _, key = await make_key()
    assert (await Client().get(f"{EXECUTIONS}?key={key}&authorization=Bearer%20{key}")).status == 401
    assert (await Client(headers={"cookie": f"authorization={key}"}).get(EXECUTIONS)).status == 401


async def test_a_revoked_key_ends_here_at_once_and_elsewhere_soon(
    engine: Engine, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch, hot_first: bool
) -> None:
    made, key = await make_key()
    client = Client(key=key, hot_first=hot_first)
    assert (await client.get(f"{EXECUTIONS}/{uuid4()}")).status == 404
    await in_database(ApiKey.objects.filter(pk=made.pk).update, revoked_at=made.created_at)  # by another server
    assert (await client.get(f"{EXECUTIONS}/{uuid4()}")).status == 404
    assert keys.KEPT_SECONDS + keys.GRACE_SECONDS < 5
    monkeypatch.setattr(keys, "monotonic", lambda: time.monotonic() + keys.KEPT_SECONDS + 0.1)
    assert (await client.get(f"{EXECUTIONS}/{uuid4()}")).status == 401


async def test_revoking_counts_at_once_on_the_same_server(client: Client, make_key: MakeKey) -> None:
    made, key = await make_key("other")
    other = Client(key=key)
    assert (await other.get(EXECUTIONS)).status == 200
    await in_database(revoke_key, made, actor="ada")
    assert (await other.get(EXECUTIONS)).status == 401
    assert (await client.get(EXECUTIONS)).status == 200


async def test_wrong_keys_do_not_fill_the_memory(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MAX_KEPT", 5)
    for n in range(12):
        key_id, secret = f"{n:016x}", "0" * 64
        await Client(key=f"polos_{key_id}_{secret}{keys._checksum(key_id, secret)}").get(f"{EXECUTIONS}/{uuid4()}")
    assert len(keys._kept) <= 5


async def test_the_last_use_is_noted(engine: Engine, make_key: MakeKey, hot_first: bool) -> None:
    made, key = await make_key()
    await Client(key=key, hot_first=hot_first).get(EXECUTIONS if not hot_first else f"{EXECUTIONS}/{uuid4()}")
    for task in list(keys._background):
        await task
    await in_database(made.refresh_from_db)
    assert made.last_used_at is not None


async def test_a_database_dump_holds_no_usable_key(make_key: MakeKey) -> None:
    made, key = await make_key()
    row = await in_database(ApiKey.objects.filter(pk=made.pk).values().get)
    secret = key.split("_")[2]
    assert all(secret[:64] not in str(value) for value in row.values())


# -- patterns ----------------------------------------------------------------------------------------


def test_patterns_are_matched_whole() -> None:
    principal = Principal(name="k", patterns=("billing/*", "mail"))
    assert [name for name in ("billing/eu", "billing/a/b", "mail") if not principal.reaches(name)] == []
    assert [
        name for name in ("billing", "mailbox", "xmail", "a/billing/eu", "billingx") if principal.reaches(name)
    ] == []
    assert Principal(name="k").reaches("anything")
    assert not Principal(name="k", patterns=("a.b",)).reaches("axb")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "wrong",
    [
        {"patterns": [""]},
        {"patterns": ["a b"]},
        {"patterns": ["[a]"]},
        {"patterns": ["x" * 201]},
        {"patterns": [5]},
        {"name": " "},
        {"name": "x" * 101},
        {"name": "a\0"},
        {"scope": "root"},
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadKey):
        create_key(**{"name": "k", "scope": "full", "patterns": [], "created_by": "ada"} | wrong)
    assert not ApiKey.objects.exists()


@pytest.mark.django_db
def test_names_of_keys_are_unique(django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks) -> None:
    create_key(name="k", scope="full", patterns=[], created_by="ada")
    with pytest.raises(BadKey, match="already"):
        create_key(name="k", scope="full", patterns=[], created_by="ada")


async def test_a_narrowed_key_sees_its_own_queues_only(client: Client, make_key: MakeKey, hot_first: bool) -> None:
    _, key = await make_key("narrow", "full", "billing/*")
    narrow = Client(key=key, hot_first=hot_first)
    ids = {}
    for queue in ("billing/eu", "mail"):
        made = await client.post(EXECUTIONS, {"workflow_id": "w", "queue_name": queue})
        ids[queue] = made.json["id"]
    listed = (await narrow.get(EXECUTIONS)).json["executions"]
    assert [item["id"] for item in listed] == [ids["billing/eu"]]
    assert [queue["name"] for queue in (await narrow.get("/api/v1/queues")).json["queues"]] == ["billing/eu"]
    missing = (await narrow.get("/api/v1/queues/absent")).json["detail"]
    outside = await narrow.get("/api/v1/queues/mail")
    assert (outside.status, outside.json["detail"]) == (404, missing.replace("absent", "mail"))
    for method, path, body in (
        ("GET", f"{EXECUTIONS}/{ids['mail']}?wait=5", None),
        ("POST", f"{EXECUTIONS}/{ids['mail']}/cancellation", None),
        ("GET", f"{EXECUTIONS}/{ids['mail']}/steps", None),
        ("GET", f"{EXECUTIONS}/{ids['mail']}/logs?wait=5", None),
        ("GET", f"{EXECUTIONS}/{ids['mail']}/stream?wait=5", None),
        ("POST", EXECUTIONS, {"workflow_id": "w", "queue_name": "mail"}),
        ("POST", EXECUTIONS, {"workflow_id": "mail"}),
        ("PUT", "/api/v1/limits/mail", {"limit": 1}),
        ("DELETE", "/api/v1/pauses/mail", None),
    ):
        assert (await narrow.call(method, path, body)).status == 404, path
    assert (await narrow.put("/api/v1/limits/billing/eu", {"limit": 1})).status == 200


async def test_a_narrowed_worker_registers_and_claims_inside_its_patterns_only(
    client: Client, make_key: MakeKey, hot_first: bool
) -> None:
    _, key = await make_key("narrow", "work", "billing/*")
    narrow = Client(key=key, hot_first=hot_first)
    other = await join(client, ("mail", "w"))
    await client.post(EXECUTIONS, {"workflow_id": "w", "queue_name": "mail"})
    register = {"id": str(uuid4()), "name": "n", "workflows": [{"id": "w", "queue": "mail"}]}
    refused = await narrow.post("/api/v1/workers", register)
    assert (refused.status, "mail" in refused.json["detail"]) == (403, True)
    takeover = register | {"id": str(other), "workflows": [{"id": "w", "queue": "billing/eu"}]}
    assert (await narrow.post("/api/v1/workers", takeover)).status == 410
    for path in ("exchange", "heartbeat"):
        assert (await narrow.post(f"/api/v1/workers/{other}/{path}", {})).status == 410
    assert (await narrow.delete(f"/api/v1/workers/{other}")).status == 410
    await claim(client, other)
    await join(narrow, ("billing/eu", "w"))


async def test_a_work_key_starts_children_only(client: Client, make_key: MakeKey) -> None:
    _, key = await make_key("worker", "work")
    worker = Client(key=key)
    made = await client.post(EXECUTIONS, {"workflow_id": "w", "queue_name": "q"})
    claimed = await claim(worker, await join(worker, ("q", "w")))
    assert (await worker.post(EXECUTIONS, {"workflow_id": "child"})).status == 403
    parent = {"id": made.json["id"], "token": claimed["token"]}
    child = await worker.post(EXECUTIONS, {"workflow_id": "child", "parent": parent})
    assert child.status == 201
    stale = await worker.post(EXECUTIONS, {"workflow_id": "child", "parent": parent | {"token": str(uuid4())}})
    assert stale.status == 409
    children = await client.get(f"{EXECUTIONS}?parent={made.json['id']}")
    assert [item["id"] for item in children.json["executions"]] == [child.json["id"]]


async def test_the_first_key_warns_whom_it_locks_out(engine: Engine, settings: Settings) -> None:
    settings.POLOS_LOCAL_MODE_ALLOWED = True
    await join(Client(), ("q", "w"), name="by hand")
    assert await in_database(keys.warn_on_first_key) == ["by hand"]
    await in_database(create_key, name="k", scope="full", patterns=[], created_by="ada")
    assert await in_database(keys.warn_on_first_key) == []
