"""What templates need to say: times, places, JSON as text, and who may do what."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from uuid import UUID

from django import template
from django.contrib.messages import get_messages
from django.http import HttpRequest
from django.template import Context
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from queues import fragments, keys, listing, trail, words
from queues.access import Action, may, role_of
from queues.indent import indented
from queues.models import Change

register = template.Library()

THEMES = ("light", "dark")
FOLD_BEYOND = 24  # lines of JSON that are shown without unfolding


# -- the page around ---------------------------------------------------------------------------------


@register.simple_tag(takes_context=True)
def theme(context: Context) -> str:
    """From the cookie, rendered by the server: no flash, no inline script."""
    request: HttpRequest | None = context.get("request")
    wanted = request.COOKIES.get("theme", "") if request else ""
    return wanted if wanted in THEMES else "system"


@register.simple_tag(takes_context=True)
def time_zone(context: Context) -> str:
    """As chosen in this browser, by a name that `Intl` is asked for; "browser" is its own."""
    request: HttpRequest | None = context.get("request")
    return (request.COOKIES.get("zone") if request else None) or "browser"


@register.simple_tag(takes_context=True)
def time_style(context: Context) -> str:
    request: HttpRequest | None = context.get("request")
    return "absolute" if request and request.COOKIES.get("times") == "absolute" else "relative"


@register.simple_tag(takes_context=True)
def allowed(context: Context, action: str, queue: str | None = None) -> bool:
    """{% allowed "LIMIT" queue.name as may_change %}; without a queue, whether there is one."""
    request: HttpRequest | None = context.get("request")
    return bool(request and may(getattr(request, "user", None), Action[action], queue))


@register.simple_tag(takes_context=True)
def my_role(context: Context) -> str:
    user = context["request"].user
    return role_of(user) or ("grants on some queues" if may(user, Action.SEE) else "no role")


@register.simple_tag
def local_mode() -> bool:
    return keys.local_mode_on()


@register.simple_tag(takes_context=True)
def toasts(context: Context) -> list[Any]:
    request: HttpRequest | None = context.get("request")
    # A refresh in the background must not swallow what the next page is meant to say.
    if request is None or "Polos-Refresh" in request.headers:
        return []
    return list(get_messages(request))


@register.simple_tag(takes_context=True)
def querystring_with(context: Context, **changes: Any) -> str:
    """The query of this URL with some names changed; an empty value takes the name out."""
    query = context["request"].GET.copy()
    query.pop("start", None)
    for name, value in changes.items():
        query.pop(name, None)
        if value != "":
            query[name] = str(value)
    return str(query.urlencode())


@register.simple_tag
def server_time() -> int:
    return round(timezone.now().timestamp() * 1000)


@register.filter
def group_prefix(name: str) -> str:
    return listing.prefix_of(name)


# -- times -------------------------------------------------------------------------------------------


@register.filter
def since(at: dt.datetime | None) -> SafeString:
    return fragments.since(at, timezone.now()) if at else SafeString("–")


@register.filter
def ago(at: dt.datetime | None) -> SafeString:
    return fragments.ago(at, timezone.now()) if at else SafeString("–")


@register.filter
def between(start: dt.datetime | None, end: dt.datetime | None) -> str:
    return words.duration((end - start).total_seconds()) if start and end else "–"


@register.filter
def duration(seconds: float | None) -> str:
    return words.duration(seconds)


@register.filter
def moment(at: dt.datetime | None) -> SafeString:
    return fragments.moment(at) if at else SafeString("–")


@register.filter
def seconds(length: float | None) -> str:
    return words.duration(length, fine=False)


@register.filter
def countdown(at: dt.datetime | None) -> SafeString:
    return fragments.countdown(at) if at else SafeString("–")


# -- words -------------------------------------------------------------------------------------------


@register.filter
def pill(word: str) -> SafeString:
    return fragments.state_word(word)


@register.filter
def status_pill(status: str) -> SafeString:
    return format_html('<span class="pill {}">{}</span>', STATUS_COLOURS.get(status, "grey"), status)


@register.filter
def worker_pill(state: str) -> SafeString:
    return format_html('<span class="pill {}">{}</span>', WORKER_COLOURS.get(state, "grey"), state)


@register.filter
def schedule_pill(state: str) -> SafeString:
    return format_html('<span class="pill {}">{}</span>', SCHEDULE_COLOURS.get(state, "grey"), state)


SCHEDULE_COLOURS = {"paused": "violet", "no worker": "red"}
WORKER_COLOURS = {"draining": "violet", "lost": "red"}
STATUS_COLOURS = {
    "running": "blue",
    "cancelling": "violet",
    "failed": "red",
    "lost": "amber",
    "retried": "amber",
}


@register.filter
def short(id: UUID | str | None) -> str:
    """Of a UUIDv7 the end differs, not the beginning."""
    text = str(id) if id else ""
    return f"{text[:4]}…{text[-6:]}" if text else "–"


@register.filter
def limit_word(limit: int | None) -> str:
    return words.limit(limit)


@register.filter
def of_schedule(change: Change) -> SafeString:
    """What was done to a schedule: `made`, `paused`, `changed 0 3 * * * → 0 4 * * *`."""
    return format_html("{}{}", *_schedule_act(change))


@register.filter
def on_schedule(change: Change) -> SafeString:
    """The same with its name: `paused the schedule nightly`."""
    did, what = _schedule_act(change)
    return format_html("{} the schedule <b>{}</b>{}", did, change.subject, what)


def _schedule_act(change: Change) -> tuple[str, SafeString]:
    if change.after == "none":
        return "deleted", SafeString("")
    if change.after == "paused":
        return "paused", SafeString("")
    if word := SCHEDULE_ACTS.get(change.before):
        return word, SafeString("")
    return "changed", format_html(' <span class="nowrap">{} → <b>{}</b></span>', change.before, change.after)


register.filter(trail.of_act)
register.filter(trail.on_executions)

SCHEDULE_ACTS = {"none": "made", "paused": "resumed", "": "ran"}  # by what it was before


@register.filter
def colon(items: Any) -> str:
    return ", ".join(map(str, items))


# -- JSON --------------------------------------------------------------------------------------------


@register.inclusion_tag("parts/json.html")
def json_block(raw: str | None, empty: str = "none", id: str = "") -> dict[str, Any]:
    """Somebody else's JSON, as text, folded when it is long; with an id it can be copied."""
    text = "" if raw is None or raw == "null" else indented(raw)
    lines = text.count("\n") + 1
    return {
        "text": text,
        "id": id,
        "empty": empty,
        "lines": lines,
        "fold": lines > FOLD_BEYOND or len(text) > 2_000,
    }


@register.filter
def error_part(raw: str | None, part: str) -> str:
    """`type`, `message` or `traceback` of a stored error."""
    try:
        error = json.loads(raw or "null")
    except (ValueError, RecursionError):
        return raw or "" if part == "message" else ""
    if not isinstance(error, dict):
        return str(error) if part == "message" and error is not None else ""
    return str(error.get(part) or "")
