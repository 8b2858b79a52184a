"""The link of the banner, followed by a person."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from http.cookiejar import CookieJar
from urllib.parse import urlencode

from tests.servers import Server, StartServer


class Browser:
    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.url = ""
        self.page = ""

    def open(self, url: str, form: dict[str, str] | None = None) -> int:
        data = urlencode(form).encode() if form is not None else None
        headers = {"Origin": "/".join(url.split("/")[:3])} if data else {}
        try:
            response = self._opener.open(urllib.request.Request(url, data, headers), timeout=10)  # noqa: S310
        except urllib.error.HTTPError as error:
            response = error
        with response:
            self.url, self.page = response.url, response.read().decode()
            return int(response.status)

    def send(self, **form: str) -> int:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.page)
        assert token, self.page
        return self.open(self.url, {"csrfmiddlewaretoken": token[1], **form})


def test_the_link_leads_to_a_password_once(server: StartServer) -> None:
    one = server()
    person, password = Browser(), "correct horse battery staple"
    assert person.open(one.signin_link) == 200
    assert person.send() == 200
    assert person.url.endswith("/account/password")
    assert person.send(new_password1=password, new_password2=password) == 200
    assert person.open(one.url) == 200
    assert "sessionid" in {cookie.name for cookie in person.cookies}
    assert Browser().open(one.signin_link) == 410
    _signs_in_with(one, password)
    assert one.stop() == 0
    # There is a password now: no more links that anybody finds in a log.
    assert "/signin/" not in server().output


def _signs_in_with(one: Server, password: str) -> None:
    again = Browser()
    again.open(one.url)
    assert "/signin" in again.url
    assert again.send(username="admin", password=password) == 200
    assert "/signin" not in again.url
