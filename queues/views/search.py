"""The list of executions: a search line, what it finds, and what it suggests while one types."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from queues import reads
from queues.access import Action, needs, sight
from queues.search import export as exports
from queues.search import line as lines
from queues.search import suggest
from queues.search.finding import Found, find
from queues.search.line import BadSearch, Search

NEAR, FAR = 0.12, 2.0  # seconds that a search may take: at first, and when somebody asks to look further back
# Seconds after which a page looks again by itself: what was easy to find, what was not.
REFRESH, REFRESH_SLOW = 3, 30


VERBS = (("cancel", "Cancel"), ("retry", "Retry"), ("priority", "Priority of"))  # on those ticked, and on all


@dataclass(frozen=True, slots=True)
class Question:
    """What the address asks: `q`, a search line, or single names as older addresses have them."""

    line: str
    cursor: UUID | None
    far: bool

    @classmethod
    def of(cls, request: HttpRequest) -> Question:
        query = request.GET
        old = {name: query.get(name) or None for name in ("status", "queue", "workflow")}
        line = query.get("q", "") or lines.written(**old)
        return cls(line.replace("\0", " ").strip(), _uuid(query.get("cursor", "")), "far" in query)

    def search(self) -> Search:
        """Raises `BadSearch`."""
        return lines.parse(self.line, timezone.now())

    def query(self, **more: str) -> str:
        return urlencode({**({"q": self.line} if self.line else {}), **more})


@require_safe
@needs(Action.SEE)
def list_executions(request: HttpRequest) -> HttpResponse:
    asked = Question.of(request)
    problems: list[str] = []
    found = Found([])
    try:
        found = find(
            asked.search(),
            most=reads.PAGE_SIZE,
            seconds=FAR if asked.far else NEAR,
            below=asked.cursor,
            within=sight(request.user).queue_ids(),
        )
    except BadSearch as bad:
        problems = bad.problems
    context = {
        "asked": asked,
        "problems": problems,
        "rows": reads.executions(found.ids),
        "found": found,
        "first_query": asked.query(),
        "older_query": asked.query(cursor=str(found.next)) if found.next else "",
        "further_query": asked.query(cursor=str(found.next), far="1") if found.next else "",
        "refresh": REFRESH_SLOW if found.stopped or asked.cursor else REFRESH,
        "kinds": suggest.KINDS,
        "verbs": VERBS,
        "now": timezone.now(),
    }
    return render(request, "executions/list.html", context)


@require_safe
@needs(Action.SEE)
def suggestions(request: HttpRequest) -> HttpResponse:
    """For the term of `q` in which the caret stands, `at` characters from its beginning."""
    line = request.GET.get("q", "")[: lines.MOST_CHARACTERS].replace("\0", " ")
    at = request.GET.get("at", "")
    place = min(int(at), len(line)) if at.isdecimal() and len(at) < 6 else len(line)
    return render(
        request, "executions/suggestions.html", {"suggested": suggest.suggested(line, place, sight(request.user))}
    )


@require_safe
@needs(Action.SEE)
def export(request: HttpRequest, form: str) -> HttpResponseBase:
    """What the search finds as a file. There are no pages: `cursor` is of no account."""
    asked = Question.of(request)
    try:
        search = asked.search()
    except BadSearch as bad:
        return HttpResponse("\n".join(bad.problems), status=422, content_type="text/plain; charset=utf-8")
    if exports.full():
        said = "This server makes as many exports as it may already. Try again when one of them is done."
        return HttpResponse(
            said, status=503, headers={"Retry-After": "30"}, content_type="text/plain; charset=utf-8"
        )
    written, kind = exports.FORMS[form]
    name = f"executions-{timezone.now():%Y%m%d-%H%M%S}.{form}"
    return StreamingHttpResponse(
        exports.stream(search, written, sight(request.user).queue_ids()),
        content_type=kind,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "X-Accel-Buffering": "no"},
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
