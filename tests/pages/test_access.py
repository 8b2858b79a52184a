"""Every route of the pages × every kind of visitor. A route without a line here fails the first test."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern

from queues import access, urls
from queues.models import Status

from .conftest import SignIn, finished, make_execution, make_queue, make_worker

VISITORS = ("anonymous", "nils", "vera", "jonas", "ana")
SIGN_IN, NO, YES = "sign in", "no", "yes"
EVERYBODY = (YES, YES, YES, YES, YES)
SIGNED_IN = (SIGN_IN, YES, YES, YES, YES)
VIEWERS = (SIGN_IN, NO, YES, YES, YES)
OPERATORS = (SIGN_IN, NO, NO, YES, YES)
ADMINS = (SIGN_IN, NO, NO, NO, YES)

# (method, route) -> what anonymous, no role, viewer, operator and admin get
MATRIX = {
    ("get", ""): VIEWERS,
    ("get", "queues/<path:name>"): VIEWERS,
    ("get", "charts/<path:name>"): VIEWERS,
    ("get", "history/<path:name>"): VIEWERS,
    ("get", "lanes/<path:name>"): VIEWERS,
    ("get", "trail"): VIEWERS,
    ("get", "limits/<path:name>"): ADMINS,
    ("post", "limits/<path:name>"): ADMINS,
    ("get", "pauses/<path:name>"): OPERATORS,
    ("post", "pauses/<path:name>"): OPERATORS,
    ("get", "pauses"): OPERATORS,
    ("post", "pauses"): OPERATORS,
    ("get", "resumptions"): OPERATORS,
    ("post", "resumptions"): OPERATORS,
    ("post", "favourites/<path:name>"): VIEWERS,
    ("get", "executions"): VIEWERS,
    ("get", "executions/suggestions"): VIEWERS,
    ("get", "executions/<uuid:id>"): VIEWERS,
    ("post", "executions/<uuid:id>/cancellation"): OPERATORS,
    ("post", "executions/<uuid:id>/retry"): OPERATORS,
    ("get", "workers"): VIEWERS,
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
    ("post", "people/<int:id>/role"): ADMINS,
    ("post", "people/<int:id>/activation"): ADMINS,
    ("post", "people/<int:id>/link"): ADMINS,
}


def routes() -> set[str]:
    return {str(pattern.pattern) for pattern in urls.urlpatterns if isinstance(pattern, URLPattern)}


def test_every_route_has_a_line_in_the_matrix() -> None:
    assert {route for _, route in MATRIX} == routes()


@pytest.mark.parametrize("visitor", VISITORS)
@pytest.mark.parametrize(("method", "route"), MATRIX, ids=[" ".join(key) for key in MATRIX])
def test_each_visitor_gets_what_the_matrix_says(method: str, route: str, visitor: str, sign_in: SignIn) -> None:
    client = Client() if visitor == "anonymous" else sign_in(visitor)
    response = getattr(client, method)(_address(method, route))
    expected = MATRIX[method, route][VISITORS.index(visitor)]
    assert _meant(response) == expected, (response.status_code, response.headers.get("Location"))


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
    assert access.may_watch(vera)
    people["vera"].groups.clear()
    assert not access.may_watch(vera)


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


def _address(method: str, route: str) -> str:
    queue = make_queue()
    worker = make_worker(queue=queue)
    wanted = finished(queue, worker, Status.FAILED) if route.endswith("retry") else make_execution(queue)
    values = {"<path:name>": queue.name, "<uuid:id>": str(wanted.id), "<str:token>": uuid.uuid4().hex}
    values["<int:id>"] = str(User.objects.get(username="vera").pk)
    for hole, value in values.items():
        route = route.replace(hole, value)
    return f"/{route}"


def _meant(response: Any) -> str:
    if response.status_code == 403:
        return NO
    if response.status_code == 302 and response.headers["Location"].startswith("/signin?next="):
        return SIGN_IN
    return YES
