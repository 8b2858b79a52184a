"""Pages are closed to strangers, and what is behind the door is not kept by browsers and proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.utils.cache import add_never_cache_headers

SAFE = ("GET", "HEAD", "OPTIONS")


class SignInRequired(LoginRequiredMiddleware):
    """Django's, but HTMX is led to the sign-in page as a whole instead of getting it as a fragment. Who sent
    something is led back to the page that it was on, and told that it was not carried out."""

    def handle_no_permission(  # type: ignore[override]
        self, request: HttpRequest, view_func: Callable[..., Any]
    ) -> HttpResponseBase:
        by_htmx, sent = request.headers.get("HX-Request") == "true", request.method not in SAFE
        if not by_htmx and not sent:
            return super().handle_no_permission(request, view_func)
        address = f"{settings.LOGIN_URL}?next={_page(request)}{'&unsent=1' if sent else ''}"
        return HttpResponse(headers={"HX-Redirect": address}) if by_htmx else HttpResponseRedirect(address)


def _page(request: HttpRequest) -> str:
    shown = urlsplit(request.headers.get("HX-Current-URL") or request.headers.get("Referer") or "/")
    return quote(shown.path + (f"?{shown.query}" if shown.query else ""))


class NoStore:
    async_capable = sync_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self._later(request)
        return _not_stored(self.get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return _not_stored(await self.get_response(request))


def _not_stored(response: HttpResponseBase) -> HttpResponseBase:
    if not response.has_header("Cache-Control"):
        add_never_cache_headers(response)
    return response
