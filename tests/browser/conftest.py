"""A real server on the test database, a real Chromium, people who are signed in already."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Protocol

import pytest
from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, User
from django.test import Client
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from tests import servers
from tests.servers import Server

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# The console says so too, in words that differ between versions.
REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", event => console.error(
    `Content Security Policy: ${event.effectiveDirective} forbids ${event.blockedURI} ${event.sample}`))
"""
# How long until a test gives up: only a failure takes so long, and a machine may be busy with something else.
EXPECT_MS, ACT_MS = 20_000, 30_000
expect.set_options(timeout=EXPECT_MS)

PASSWORD = "correct horse battery"
ROLES = {"ana": "admin", "jonas": "operator", "vera": "viewer"}
# A form that was refused, or was out of date, is shown again and says so.
ANSWERS = {409, 422}
# What the browser and HTMX say about a request that was refused or given up: it is told with its address, too.
TOLD = (
    "Failed to load resource",
    "Response Status Error Code",
    "htmx:sendAbort",
    "htmx:sendError",
    "htmx:afterRequest",
)
# What a page may complain of where a test takes away the network, or the rights; sockets close with both.
OFFLINE = "ERR_INTERNET_DISCONNECTED|WebSocket"
REFUSED = "was answered with 40[13]|WebSocket"


class OpenPage(Protocol):
    def __call__(
        self,
        path: str = "/",
        *,
        as_: str = "ana",
        phone: bool = False,
        dark: bool = False,
        scripts: bool = True,
        bypass_csp: bool = False,
        forgive: str = "",
    ) -> Page: ...


@pytest.fixture(scope="session")
def site(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all browser tests; it shares the test database, so tests write rows as they like."""
    # The same key: sessions that tests make count on the server too.
    env = {"DATABASE_URL": servers.url_of(str(settings.POLOS_DSN)), "POLOS_SECRET_KEY": settings.SECRET_KEY}
    started = servers.launch(tmp_path_factory.mktemp("site") / "data", env=env)
    try:
        yield started.wait_until_ready()
    finally:
        started.stop()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    # Playwright's loop runs in this thread, and Django would refuse to talk to the database beside it.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture(scope="session")
def password_hash() -> str:
    """Made once: it is slow on purpose."""
    return make_password(PASSWORD)


@pytest.fixture
def people(site: Server, clean_db: None, password_hash: str) -> dict[str, User]:
    cast = {}
    for name, role in ROLES.items():
        cast[name] = User.objects.create(username=name, password=password_hash, is_staff=role == "admin")
        cast[name].groups.add(Group.objects.get(name=role))
    return cast


@pytest.fixture
def open_page(site: Server, browser: Browser, people: dict[str, User]) -> Iterator[OpenPage]:
    """Opens a page as somebody. Anything that the browser complains about fails the test at its end: errors in
    the console, what the policy forbids, requests that fail or are answered with an error, the browser's own
    dialogs; but for what matches `forgive`, a regular expression."""
    complaints: list[str] = []
    contexts = []

    def opened(
        path: str = "/",
        *,
        as_: str = "ana",
        phone: bool = False,
        dark: bool = False,
        scripts: bool = True,
        bypass_csp: bool = False,
        forgive: str = "",
    ) -> Page:
        site.assert_runs()
        context = browser.new_context(
            viewport=PHONE if phone else DESK,  # type: ignore[arg-type]
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            bypass_csp=bypass_csp,
            base_url=site.url,
        )
        contexts.append(context)
        if as_:
            context.add_cookies([{"name": "sessionid", "value": _session(people[as_]), "url": site.url}])
        page = context.new_page()
        page.set_default_timeout(ACT_MS)
        page.add_init_script(REPORT_VIOLATIONS)
        listen(page, lambda said: None if forgive and re.search(forgive, said) else complaints.append(said))
        page.goto(path)
        return page

    yield opened
    for context in contexts:
        context.close()
    site.assert_runs()
    assert complaints == []


def listen(page: Page, complain: Callable[[str], None]) -> None:
    def answered(response: Response) -> None:
        if response.status >= 400 and response.status not in ANSWERS:
            complain(f"{page.url}: {response.request.method} {response.url} was answered with {response.status}")

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # so end those of a page that is left
            complain(f"{page.url}: {request.method} {request.url} failed: {request.failure}")

    def said(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(TOLD):
            complain(f"{page.url}: {message.text}")

    page.on("pageerror", lambda error: complain(f"{page.url}: {error}"))
    page.on("console", said)
    page.on("response", answered)
    page.on("requestfailed", failed)
    page.on("dialog", lambda dialog: complain(f"a dialog: {dialog.message}"))


def _session(user: User) -> str:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client.cookies["sessionid"].value
