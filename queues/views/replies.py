"""How an action on a page answers: with a redirect and a message, or to HTMX with an announcement."""

from __future__ import annotations

import json
from typing import Any, cast

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url


def is_htmx(request: HttpRequest) -> bool:
    return request.headers.get("HX-Request") == "true"


def actor(request: HttpRequest) -> str:
    """Who the trail names. Views behind `needs` have a signed-in user."""
    return cast(User, request.user).get_username()


def done(request: HttpRequest, sentence: str, to: str, *args: Any) -> HttpResponse:
    """It happened: say so (aria-live), close the dialog, show the new state."""
    if is_htmx(request):
        return HttpResponse(status=204, headers={"HX-Trigger": json.dumps({"polos:done": {"text": sentence}})})
    messages.success(request, sentence)
    return HttpResponseRedirect(resolve_url(to, *args))


def gone_to(request: HttpRequest, sentence: str, to: str, *args: Any) -> HttpResponse:
    """It happened, and what came of it has a page: go there."""
    messages.success(request, sentence)
    address = resolve_url(to, *args)
    return HttpResponse(headers={"HX-Redirect": address}) if is_htmx(request) else HttpResponseRedirect(address)


def refused(request: HttpRequest, sentence: str, to: str, *args: Any) -> HttpResponse:
    """It did not happen, and why."""
    if is_htmx(request):
        return HttpResponse(status=204, headers={"HX-Trigger": json.dumps({"polos:refused": {"text": sentence}})})
    messages.error(request, sentence)
    return HttpResponseRedirect(resolve_url(to, *args))
