"""Every route of the pages × every kind of visitor. A route without a line here fails the first test."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.urls import URLPattern

from queues import access, limits, urls
from queues.models import Change, Grant, Status
from workflows.models import Schedule, Workflow
from workflows.urls import page_urls

from .conftest import (
    SignIn,
    finished,
    make_bulk_act,
    make_execution,
    make_queue,
    make_schedule,
    make_worker,
    running,
    seconds_ago,
)

# Sigrid, Otto and Tim have no role, and grants on billing/*: to see, to operate, to tune.
VISITORS = ("anonymous", "nils", "vera", "jonas", "ana", "sigrid", "otto", "tim")
GRANTS = {"sigrid": "see", "otto": "operate", "tim": "tune"}
SIGN_IN, NO, YES, MISSING = "sign in", "no", "yes", "missing"
EVERYBODY = (YES,) * 8
SIGNED_IN = (SIGN_IN, *(YES,) * 7)
VIEWERS = (SIGN_IN, NO, YES, YES, YES, YES, YES, YES)
OPERATORS = (SIGN_IN, NO, NO, YES, YES, NO, YES, YES)
TUNERS = (SIGN_IN, NO, NO, NO, YES, NO, NO, YES)
ADMINS = (SIGN_IN, NO, NO, NO, YES, NO, NO, NO)

# (method, route) -> what each visitor gets, where the route is about a queue named billing/eu
MATRIX = {
    ("get", ""): VIEWERS,
    ("get", "queues/<path:name>"): VIEWERS,
    ("get", "charts/<path:name>"): VIEWERS,
    ("get", "history/<path:name>"): VIEWERS,
    ("get", "lanes/<path:name>"): VIEWERS,
    ("get", "progress/<path:name>"): VIEWERS,
    ("get", "trail"): VIEWERS,
    ("get", "limits/<path:name>"): TUNERS,
    ("post", "limits/<path:name>"): TUNERS,
    ("get", "pauses/<path:name>"): OPERATORS,
    ("post", "pauses/<path:name>"): OPERATORS,
    ("get", "drains/<path:name>"): OPERATORS,
    ("post", "drains/<path:name>"): OPERATORS,
    ("get", "purges/<path:name>"): OPERATORS,
    ("post", "purges/<path:name>"): OPERATORS,
    ("get", "pauses"): OPERATORS,
    ("post", "pauses"): OPERATORS,
    ("get", "resumptions"): OPERATORS,
    ("post", "resumptions"): OPERATORS,
    ("post", "favourites/<path:name>"): VIEWERS,
    ("get", "executions"): VIEWERS,
    ("get", "executions/suggestions"): VIEWERS,
    ("get", "executions.csv"): VIEWERS,
    ("get", "executions.jsonl"): VIEWERS,
    ("get", "executions/<uuid:id>"): VIEWERS,
    ("get", "executions/<uuid:id>/lines"): VIEWERS,
    ("get", "executions/<uuid:id>/log"): VIEWERS,
    ("get", "executions/<uuid:id>/cancellation"): OPERATORS,
    ("post", "executions/<uuid:id>/cancellation"): OPERATORS,
    ("post", "executions/<uuid:id>/answer"): OPERATORS,
    ("get", "executions/<uuid:id>/retry"): OPERATORS,
    ("post", "executions/<uuid:id>/retry"): OPERATORS,
    ("get", "executions/<uuid:id>/release"): OPERATORS,
    ("post", "executions/<uuid:id>/release"): OPERATORS,
    ("get", "executions/<uuid:id>/rerun"): OPERATORS,
    ("post", "executions/<uuid:id>/rerun"): OPERATORS,
    ("get", "executions/<uuid:id>/priority"): OPERATORS,
    ("post", "executions/<uuid:id>/priority"): OPERATORS,
    ("get", "bulk"): VIEWERS,
    ("get", "bulk/new"): OPERATORS,
    ("post", "bulk/new"): OPERATORS,
    # About many queues: who does not see them all sees what they asked for themselves.
    ("get", "bulk/<uuid:id>"): (SIGN_IN, NO, YES, YES, YES, MISSING, MISSING, MISSING),
    ("get", "bulk/<uuid:id>/stop"): (SIGN_IN, NO, NO, YES, YES, NO, MISSING, MISSING),
    ("post", "bulk/<uuid:id>/stop"): (SIGN_IN, NO, NO, YES, YES, NO, MISSING, MISSING),
    ("get", "schedules"): VIEWERS,
    ("get", "schedules/preview"): VIEWERS,
    ("get", "schedules/new"): OPERATORS,
    ("post", "schedules/new"): OPERATORS,
    ("get", "schedules/<uuid:id>"): VIEWERS,
    ("get", "schedules/<uuid:id>/change"): OPERATORS,
    ("post", "schedules/<uuid:id>/change"): OPERATORS,
    ("get", "schedules/<uuid:id>/pause"): OPERATORS,
    ("post", "schedules/<uuid:id>/pause"): OPERATORS,
    ("get", "schedules/<uuid:id>/runs"): OPERATORS,
    ("post", "schedules/<uuid:id>/runs"): OPERATORS,
    ("get", "schedules/<uuid:id>/deletion"): OPERATORS,
    ("post", "schedules/<uuid:id>/deletion"): OPERATORS,
    ("get", "workers"): VIEWERS,
    ("get", "workers/<uuid:id>"): VIEWERS,
    ("get", "workers/<uuid:id>/drain"): OPERATORS,
    ("post", "workers/<uuid:id>/drain"): OPERATORS,
    ("get", "help"): VIEWERS,
    ("get", "go"): VIEWERS,
    ("get", "shortcuts"): VIEWERS,
    ("get", "signin"): EVERYBODY,
    ("get", "signin/<str:token>"): EVERYBODY,
    ("post", "signin/<str:token>"): EVERYBODY,
    ("post", "signout"): EVERYBODY,
    ("post", "theme"): EVERYBODY,
    ("post", "times"): EVERYBODY,
    ("get", "account"): SIGNED_IN,
    ("get", "account/password"): SIGNED_IN,
    ("post", "account/password"): SIGNED_IN,
    ("get", "people"): ADMINS,
    ("post", "people"): ADMINS,
    ("get", "people/<int:id>/role"): ADMINS,
    ("post", "people/<int:id>/role"): ADMINS,
    ("get", "people/<int:id>/activation"): ADMINS,
    ("post", "people/<int:id>/activation"): ADMINS,
    ("post", "people/<int:id>/link"): ADMINS,
    ("get", "people/<int:id>/grants"): ADMINS,
    ("post", "people/<int:id>/grants"): ADMINS,
    ("get", "teams/<int:id>/grants"): ADMINS,
    ("post", "teams/<int:id>/grants"): ADMINS,
    ("get", "grants/<int:id>/removal"): ADMINS,
    ("post", "grants/<int:id>/removal"): ADMINS,
}


def routes() -> set[str]:
    patterns = [*urls.urlpatterns, *page_urls]
    return {str(pattern.pattern) for pattern in patterns if isinstance(pattern, URLPattern)}


def test_every_route_has_a_line_in_the_matrix() -> None:
    assert {route for _, route in MATRIX} == routes()


def about_a_queue(route: str) -> bool:
    return "<path:name>" in route or "<uuid:id>" in route


@pytest.fixture(autouse=True)
def granted(people: dict[str, User]) -> None:
    for name, level in GRANTS.items():
        people[name] = User.objects.create_user(name)
        Grant.objects.create(user=people[name], pattern="billing/*", level=level, granted_by="ana")


@pytest.mark.parametrize(("method", "route"), MATRIX, ids=[" ".join(key) for key in MATRIX])
def test_each_visitor_gets_what_the_matrix_says(method: str, route: str, sign_in: SignIn) -> None:
    for visitor, expected in zip(VISITORS, MATRIX[method, route], strict=True):
        client = Client() if visitor == "anonymous" else sign_in(visitor)
        with transaction.atomic():  # the next visitor finds everything as it was
            response = getattr(client, method)(_address(method, route, "billing/eu"))
            transaction.set_rollback(True)
        assert _meant(response) == expected, (visitor, response.status_code, response.headers.get("Location"))


@pytest.mark.parametrize(
    ("method", "route"), [key for key in MATRIX if about_a_queue(key[1])], ids=lambda part: part
)
def test_what_is_not_granted_is_as_if_it_were_not_there(method: str, route: str, sign_in: SignIn) -> None:
    for visitor in GRANTS:
        client = sign_in(visitor)
        with transaction.atomic():
            there = _address(method, route, "mail")
            hidden = getattr(client, method)(there)
            absent = getattr(client, method)(_absent(route))
            transaction.set_rollback(True)
        if MATRIX[method, route][VISITORS.index(visitor)] == YES:
            assert _meant(hidden) == MISSING, (visitor, hidden.status_code)
            assert _told(hidden).replace("mail", "gone") == _told(absent)
        else:
            assert hidden.status_code in (403, 404)


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume asynchronous")
@pytest.mark.parametrize("route", sorted(r for m, r in MATRIX if m == "get" and "<" not in r))
def test_no_list_names_what_is_not_granted(route: str, sign_in: SignIn) -> None:
    for name in ("billing/eu", "secret"):
        queue = make_queue(name, paused=True, paused_by="ana", paused_at=seconds_ago(5))
        worker = make_worker(f"worker-of-{name}", queue=queue)
        running(queue, worker, 1, workflow=f"flow-of-{name}")
        finished(queue, worker, Status.FAILED, workflow=f"flow-of-{name}", error=f'{{"message": "told {name}"}}')
        limits.change_limit(queue=name, limit=2, reason=f"why {name}", actor="ana", through=Change.Through.PAGE)
        Workflow.objects.update(queue=queue)
        schedule = make_schedule(queue, f"nightly-{name}")
        Schedule.objects.filter(id=schedule.id).update(queue=queue)
    for visitor in GRANTS:
        client = sign_in(visitor)
        for query in ("", "?all=1&show=all&groups=1", "?q=nightly", "?q=flow", "?q=worker:w"):
            response = client.get(f"/{route}{query}")
            html = b"".join(response if response.streaming else [response.content]).decode()
            assert "secret" not in html, (visitor, query)


@pytest.mark.parametrize("route", sorted({route for method, route in MATRIX if method == "post"}))
def test_a_post_without_the_csrf_token_is_refused(route: str, people: dict[str, User]) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(people["ana"], backend="django.contrib.auth.backends.ModelBackend")
    assert client.post(_address("post", route)).status_code == 403


@pytest.mark.parametrize("route", sorted({r for _, r in MATRIX} - {r for m, r in MATRIX if m == "get"}))
def test_a_get_changes_nothing(route: str, ana: Client) -> None:
    assert ana.get(_address("post", route)).status_code == 405


def test_a_role_that_was_taken_away_counts_at_once_for_the_socket(people: dict[str, User]) -> None:
    vera = User.objects.get(username="vera")
    assert access.sights([vera.pk])[vera.pk].everywhere
    people["vera"].groups.clear()
    assert access.sights([vera.pk])[vera.pk].nowhere


def test_a_deactivated_person_may_nothing(people: dict[str, User]) -> None:
    User.objects.filter(username="ana").update(is_active=False)
    assert access.role_of(User.objects.get(username="ana")) is None


def test_a_superuser_is_an_admin() -> None:
    assert access.role_of(User.objects.create_superuser("root")) is access.Role.ADMIN


def test_the_page_for_those_who_may_not_says_why(vera: Client) -> None:
    make_queue("a/b")
    response = vera.get("/limits/a/b")
    assert response.status_code == 403
    assert "Your role is viewer, and it may not change a limit" in response.content.decode()


def _address(method: str, route: str, name: str = "api-calls") -> str:
    queue = make_queue(name)
    worker = make_worker(queue=queue)
    wanted = finished(queue, worker, Status.FAILED) if route.endswith("retry") else make_execution(queue)
    id = wanted.id
    if route.startswith("schedules"):
        id = make_schedule(queue).id
    elif route.startswith("workers"):
        id = worker.id
    elif route.startswith("bulk/<"):
        id = make_bulk_act().id
    elif route == "bulk/new":
        route += "?verb=cancel"
    values = {"<path:name>": queue.name, "<uuid:id>": str(id), "<str:token>": uuid.uuid4().hex}
    values["<int:id>"] = str(_number(route))
    return _filled(route, values)


def _number(route: str) -> int:
    if route.startswith("teams/"):
        return Group.objects.create(name="payments").pk
    if route.startswith("grants/"):
        return Grant.objects.latest("id").pk
    return User.objects.get(username="vera").pk


def _absent(route: str) -> str:
    return _filled(route, {"<path:name>": "gone", "<uuid:id>": str(uuid.uuid4())})


def _filled(route: str, values: dict[str, str]) -> str:
    for hole, value in values.items():
        route = route.replace(hole, value)
    return f"/{route}"


def _meant(response: Any) -> str:
    if response.status_code == 404:
        return MISSING
    if response.status_code == 403:
        return NO
    if response.status_code == 302 and response.headers["Location"].startswith("/signin?next="):
        return SIGN_IN
    return YES


def _told(response: Any) -> str:
    """The words of a page, without what differs from request to request."""
    words = re.search(r"<main.*</main>", response.content.decode(), re.DOTALL)
    assert words
    ids = r"(?:executions|schedules|workers)/[0-9a-f-]{36}"
    return re.sub(rf'name="csrfmiddlewaretoken" value="\w+"|{ids}', "", words[0])
