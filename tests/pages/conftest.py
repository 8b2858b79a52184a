"""A cast and a stage: four people, and rows as the engine would leave them."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from queues.models import BulkAct, Change, Execution, Queue, Registration, Status, Worker
from workflows import schedules
from workflows.models import Schedule, Workflow
from workflows.schedules import Act, Spec

PASSWORD = "correct horse battery"
PEOPLE = {"ana": "admin", "jonas": "operator", "vera": "viewer", "nils": None}

SignIn = Callable[[str], Client]


@pytest.fixture(autouse=True)
def people(db: None) -> dict[str, User]:
    """ana is an admin, jonas an operator, vera a viewer; nils has no role."""
    cast = {}
    for name, role in PEOPLE.items():
        cast[name] = User(username=name, is_staff=role == "admin")
        cast[name].set_unusable_password()
        cast[name].save()
        if role:
            cast[name].groups.add(Group.objects.get(name=role))
    return cast


@pytest.fixture
def sign_in(people: dict[str, User]) -> SignIn:
    def signed_in(name: str) -> Client:
        client = Client()
        client.force_login(people[name], backend="django.contrib.auth.backends.ModelBackend")
        return client

    return signed_in


@pytest.fixture
def ana(sign_in: SignIn) -> Client:
    return sign_in("ana")


@pytest.fixture
def jonas(sign_in: SignIn) -> Client:
    return sign_in("jonas")


@pytest.fixture
def vera(sign_in: SignIn) -> Client:
    return sign_in("vera")


def seconds_ago(seconds: float) -> dt.datetime:
    return timezone.now() - dt.timedelta(seconds=seconds)


def make_queue(name: str = "api-calls", limit: int | None = 5, **columns: Any) -> Queue:
    queue = Queue.objects.create(
        name=name,
        declared_limit=limit,
        declared_by="worker-a, workflows.py:12",
        declared_at=seconds_ago(60),
        **columns,
    )
    queue.refresh_from_db()
    return queue


def make_worker(name: str = "worker-a", queue: Queue | None = None, **columns: Any) -> Worker:
    now = timezone.now()
    columns = {"registered_at": now, "heartbeat_at": now, "lease_until": now + dt.timedelta(seconds=30), **columns}
    worker = Worker.objects.create(name=name, **columns)
    if queue:
        Registration.objects.create(worker=worker, queue=queue, workflow="call_api")
    return worker


def make_execution(queue: Queue, status: Status = Status.QUEUED, waited: float = 10, **columns: Any) -> Execution:
    at = seconds_ago(waited)
    columns = {"workflow": "call_api", "place": at, "enqueued_at": at, "payload": '{"customer": 7}', **columns}
    return Execution.objects.create(queue=queue, status=status, **columns)


def make_schedule(queue: Queue, name: str = "nightly", **said: Any) -> Schedule:
    Workflow.objects.get_or_create(id="call_api", defaults={"queue": queue, "registered_at": timezone.now()})
    timing = {} if {"every", "at"} & set(said) else {"cron": "30 3 * * *"}
    spec = Spec(name=name, workflow="call_api", **{**timing, **said})
    return schedules.create(spec, Act("ana", Change.Through.PAGE))


def running(
    queue: Queue, worker: Worker, slot: int | None, status: Status = Status.RUNNING, **columns: Any
) -> Execution:
    claim = {
        "worker_id": worker.id,
        "token": uuid.uuid4(),
        "claimed_at": seconds_ago(5),
        "slot": slot,
        "attempt": 1,
    }
    return make_execution(queue, status, **{**claim, **columns})


def finished(queue: Queue, worker: Worker, status: Status = Status.COMPLETED, **columns: Any) -> Execution:
    end = seconds_ago(2)
    claim = {
        "worker_id": worker.id,
        "claimed_at": seconds_ago(5),
        "released_at": end,
        "outcome": status,
        "attempt": 1,
    }
    return make_execution(queue, status, **{**claim, "finished_at": end, **columns})


def make_bulk_act(**columns: Any) -> BulkAct:
    columns = {
        "id": uuid.uuid4(), "verb": "cancel", "counted": 1, "asked_at": timezone.now(), "actor": "ana",
        "through": "page", **columns,
    }  # fmt: skip
    return BulkAct.objects.create(**columns)
