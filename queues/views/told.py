"""What an execution tells while its page is open: new lines of its log, and its progress."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from queues import details
from queues.access import Action, needs, queue_of_execution
from queues.details import Line
from queues.models import FINAL

from .executions import get_execution

LONGEST = 10  # digits


@require_safe
@needs(Action.SEE, of=queue_of_execution)
def list_lines(request: HttpRequest, id: UUID) -> HttpResponse:
    """Lines after a number, oldest first. 204 when nothing is new since `after` and `told`."""
    execution = get_execution(id)
    after = _number(request.GET.get("after", ""))
    log = details.log(id, after=after, attempt=_number(request.GET.get("attempt", "")) or 1)
    told = log.progress.at.isoformat() if log.progress else ""
    final = execution.status in FINAL
    if not log.lines and told == request.GET.get("told", ""):
        response = HttpResponse(status=204)
    else:
        context = {"log": log, "execution": execution, "final": final}
        response = render(request, "executions/lines.html", context)
    response["Polos-State"] = "final" if final else "open"
    return response


@require_safe
@needs(Action.SEE, of=queue_of_execution)
def download_lines(request: HttpRequest, id: UUID) -> HttpResponseBase:
    """The whole log as text."""
    get_execution(id)
    response = StreamingHttpResponse(_texts(id), content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{id}.log"'
    return response


async def _texts(id: UUID) -> AsyncIterator[str]:
    """Part by part, so that memory holds one."""
    after = 0
    while lines := await sync_to_async(details.lines_after)(id, after):
        yield "".join(map(_text, lines))
        after = lines[-1].number


def _text(line: Line) -> str:
    fields = "".join(f" {name}={value}" for name, value in line.fields)
    return f"{line.at.isoformat()} {line.level.upper()} [attempt {line.attempt}] {line.text}{fields}\n"


def _number(text: str) -> int:
    return min(int(text), 2**31 - 1) if text.isascii() and text.isdigit() and len(text) <= LONGEST else 0
