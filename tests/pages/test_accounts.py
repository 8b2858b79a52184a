"""Signing in and out, one-time links, roles, themes, and pages for what went wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

from queues import signin

from .conftest import PASSWORD, SignIn
from .test_list import body


def test_signing_in_leads_back_to_the_page(people: dict[str, User]) -> None:
    people["vera"].set_password(PASSWORD)
    people["vera"].save()
    client = Client()
    response = client.get("/executions?status=failed")
    assert response.headers["Location"] == "/signin?next=/executions%3Fstatus%3Dfailed"
    form = {"username": "vera", "password": PASSWORD, "next": "/executions?status=failed"}
    response = client.post("/signin", form)
    assert response.headers["Location"] == "/executions?status=failed"


def test_signing_in_leads_nowhere_else(people: dict[str, User]) -> None:
    people["vera"].set_password(PASSWORD)
    people["vera"].save()
    form = {"username": "vera", "password": PASSWORD, "next": "https://evil.example/"}
    assert Client().post("/signin", form).headers["Location"] == "/"


def test_a_wrong_password_is_said_and_the_name_is_kept() -> None:
    response = Client().post("/signin", {"username": "vera", "password": "wrong"})
    assert "do not fit together" in response.content.decode()
    assert 'value="vera"' in response.content.decode()


@override_settings(AXES_LOCKOUT_TEMPLATE="accounts/lockout.html")
def test_many_wrong_passwords_close_the_door_in_style(people: dict[str, User]) -> None:
    for _ in range(5):
        response = Client().post("/signin", {"username": "vera", "password": "wrong"})
    assert response.status_code == 429
    assert "Too many tries" in response.content.decode()


def test_an_expired_session_sends_htmx_to_sign_in_and_back() -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://testserver/queues/a/b?x=1"}
    response = Client().get("/limits/a/b", headers=headers)
    assert response.headers["HX-Redirect"] == "/signin?next=/queues/a/b%3Fx%3D1"


def test_what_a_stranger_sent_leads_back_to_its_page_and_was_not_carried_out(people: dict[str, User]) -> None:
    people["vera"].set_password(PASSWORD)
    people["vera"].save()
    client = Client()
    sent = client.post("/trail/no-such-act", headers={"Referer": "http://testserver/trail?kind=pause"})
    assert sent.status_code == 404
    sent = client.post("/bulk/new", headers={"Referer": "http://testserver/executions?q=a"})
    assert sent.headers["Location"] == "/signin?next=/executions%3Fq%3Da&unsent=1"
    assert "not carried out" in body(client, sent.headers["Location"])
    form = {"username": "vera", "password": PASSWORD, "next": "/executions?q=a", "unsent": "1"}
    assert "was not carried out" in client.post("/signin", form, follow=True).content.decode()
    assert "was not carried out" not in body(client, "/executions")


def test_a_link_is_used_up_by_the_button_not_by_looking(people: dict[str, User]) -> None:
    token = signin.make_link(people["vera"], "ana")
    client = Client()
    assert "Sign in as vera" in body(client, f"/signin/{token}")
    assert "Sign in as vera" in body(client, f"/signin/{token}")
    assert client.post(f"/signin/{token}").headers["Location"] == "/account/password"
    assert (
        client.post("/account/password", {"new_password1": PASSWORD, "new_password2": PASSWORD}).status_code == 302
    )
    assert User.objects.get(username="vera").check_password(PASSWORD)
    again = Client().post(f"/signin/{token}")
    assert again.status_code == 410
    assert "does not work any more" in again.content.decode()


def test_after_the_link_the_old_password_is_asked_for_again(vera: Client) -> None:
    response = vera.post("/account/password", {"new_password1": PASSWORD, "new_password2": PASSWORD})
    assert response.status_code == 422
    assert User.objects.get(username="vera").has_usable_password() is False


def test_an_admin_invites_somebody_and_sees_the_link_once(ana: Client) -> None:
    response = ana.post("/people", {"username": "mia", "role": "operator"})
    link = re.search(r'value="http://testserver(/signin/[^"]+)"', response.content.decode())
    assert link
    assert "/signin/" not in body(ana, "/people").replace('action="/signin', "")
    client = Client()
    client.post(link[1])
    assert "operator" in body(client, "/account")
    assert User.objects.get(username="mia").groups.get().name == "operator"


def test_a_name_that_somebody_has_is_refused(ana: Client) -> None:
    response = ana.post("/people", {"username": "VERA", "role": "viewer"})
    assert response.status_code == 422
    assert "Somebody has this name already" in response.content.decode()


def test_an_admin_changes_roles_but_not_their_own(ana: Client, people: dict[str, User]) -> None:
    ana.post(f"/people/{people['vera'].pk}/role", {"choice": "admin"})
    assert User.objects.get(username="vera").groups.get().name == "admin"
    assert User.objects.get(username="vera").is_staff
    ana.post(f"/people/{people['vera'].pk}/role", {"choice": "viewer"})
    assert not User.objects.get(username="vera").is_staff
    ana.post(f"/people/{people['ana'].pk}/role", {"choice": "viewer"})
    assert User.objects.get(username="ana").groups.get().name == "admin"


def test_a_deactivated_person_is_signed_out_at_once(ana: Client, vera: Client, people: dict[str, User]) -> None:
    assert vera.get("/").status_code == 200
    ana.post(f"/people/{people['vera'].pk}/activation")
    assert vera.get("/").status_code == 302
    ana.post(f"/people/{people['vera'].pk}/activation", {"active": 1})
    assert User.objects.get(username="vera").is_active


def test_nobody_makes_a_superuser_less(ana: Client) -> None:
    root = User.objects.create_superuser("root")
    ana.post(f"/people/{root.pk}/activation")
    root.refresh_from_db()
    assert root.is_active


def test_signing_out(vera: Client) -> None:
    assert vera.post("/signout").headers["Location"] == "/signin"
    assert vera.get("/").status_code == 302


@pytest.mark.parametrize("theme", ["system", "light", "dark"])
def test_the_theme_is_kept_in_a_cookie_and_rendered_by_the_server(vera: Client, theme: str) -> None:
    assert vera.post("/theme", {"theme": theme, "next": "/help"}).headers["Location"] == "/help"
    assert f'<html lang="en" data-theme="{theme}"' in body(vera, "/help")


def test_a_made_up_theme_and_a_foreign_next_are_ignored(vera: Client) -> None:
    response = vera.post("/theme", {"theme": '"><script>', "next": "//evil.example"})
    assert response.headers["Location"] == "/"
    assert 'data-theme="system"' in body(vera)


def test_pages_for_what_went_wrong_say_what_to_do(vera: Client, sign_in: SignIn, monkeypatch: Any) -> None:
    missing = vera.get("/nothing/here")
    assert missing.status_code == 404
    assert "There is nothing here" in missing.content.decode()
    assert "Your account has no role yet." in sign_in("nils").get("/").content.decode()
    strict = Client(enforce_csrf_checks=True)
    assert "This was not carried out" in strict.post("/signin", {}).content.decode()


@override_settings(DEBUG_PROPAGATE_EXCEPTIONS=False)
def test_a_broken_server_shows_a_page_that_needs_no_database(vera: Client, monkeypatch: Any) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("queues.reads.workers", broken)
    vera.raise_request_exception = False
    response = vera.get("/workers")
    assert response.status_code == 500
    assert "polos-server check" in response.content.decode()
    assert "secret detail" not in response.content.decode()
