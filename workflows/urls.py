"""The pages of schedules, and the REST API. Everything under `/api/` answers in JSON, also what is not there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt

from queues.problems import MethodNotAllowed, NotFound

from .api.routes import api, problem_response
from .views import schedules


def _answering_in_json(view: Callable[..., Any]) -> Callable[..., Any]:
    """Keys are sent in a header, never by a browser on its own: neither sign-in nor CSRF token is asked for."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = view(request, *args, **kwargs)
        return _later(request, response) if iscoroutinefunction(view) else _checked(request, response)

    if iscoroutinefunction(view):
        markcoroutinefunction(wrapped)
    return csrf_exempt(login_not_required(wrapped))


async def _later(request: HttpRequest, response: Any) -> HttpResponseBase:
    return _checked(request, await response)


def _checked(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    if response.status_code != MethodNotAllowed.status:
        return response
    problem = problem_response(MethodNotAllowed(f"{request.method} is not possible at this address."))
    problem["Allow"] = response["Allow"]
    return problem


@csrf_exempt
@login_not_required
def not_found(request: HttpRequest) -> HttpResponseBase:
    return problem_response(NotFound("There is nothing at this address. The API is described at /api/v1/docs."))


def _api_urls() -> tuple[list[Any], str, str]:
    patterns, app_name, namespace = api.urls
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            pattern.callback = _answering_in_json(pattern.callback)
    return patterns, app_name, namespace


page_urls = [
    path("schedules", schedules.list_schedules, name="schedules"),
    path("schedules/new", schedules.new_schedule, name="new-schedule"),
    path("schedules/preview", schedules.preview, name="schedule-preview"),
    path("schedules/<uuid:id>", schedules.show_schedule, name="schedule"),
    path("schedules/<uuid:id>/change", schedules.change, name="schedule-change"),
    path("schedules/<uuid:id>/pause", schedules.pause, name="schedule-pause"),
    path("schedules/<uuid:id>/runs", schedules.runs, name="schedule-runs"),
    path("schedules/<uuid:id>/deletion", schedules.deletion, name="schedule-deletion"),
]

urlpatterns = [*page_urls, path("api/v1/", _api_urls()), re_path(r"^api/", not_found)]
