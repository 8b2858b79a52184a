"""What the command palette offers for a text: queues, executions by id, actions, pages, settings.

`pause billing` lists queues to pause, `resume` those that are paused; the queue of the page one is on comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.urls import reverse

from . import favourites
from .access import Action, Sight, may, sight
from .models import Execution, Queue

MOST_QUEUES, MOST_EXECUTIONS, MOST_ACTIONS = 8, 5, 8
LEAST_OF_AN_ID = 6  # hexadecimal digits from its beginning
ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the palette. `dialog`: it opens in a dialog on the page. `theme`: it is a choice of one."""

    kind: str
    label: str
    href: str = ""
    hint: str = ""
    dialog: bool = False
    theme: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    paused: bool
    draining: bool
    favourite: bool


@dataclass(frozen=True, slots=True)
class _Verb:
    word: str
    needs: Action
    route: str
    said: str
    fits: Callable[[_Known], bool] = lambda queue: True


VERBS = (
    _Verb("pause", Action.PAUSE, "pause", "Pause {}…", lambda queue: not queue.paused),
    _Verb("resume", Action.PAUSE, "pause", "Resume {}…", lambda queue: queue.paused),
    _Verb("limit", Action.LIMIT, "limit", "Change limit of {}…"),
    _Verb("drain", Action.DRAIN, "drain", "Drain {}…", lambda queue: not queue.draining),
    _Verb("accept", Action.DRAIN, "drain", "Let {} accept again…", lambda queue: queue.draining),
    _Verb("purge", Action.PURGE, "purge", "Purge {}…"),
)
PAGES = (
    ("Queues", "queues", "", Action.SEE),
    ("Queues that need attention", "queues", "?show=attention", Action.SEE),
    ("Favourite queues", "queues", "?show=favourites", Action.SEE),
    ("Queues in groups", "queues", "?groups=1", Action.SEE),
    ("Executions", "executions", "", Action.SEE),
    ("Failed executions", "executions", "?status=failed", Action.SEE),
    ("Schedules", "schedules", "", Action.SEE),
    ("Bulk acts on executions", "bulk-acts", "", Action.SEE),
    ("Workers", "workers", "", Action.SEE),
    ("Trail of changes", "trail", "", Action.SEE),
    ("People", "people", "", Action.PEOPLE),
    ("Account, theme and times", "account", "", Action.SEE),
    ("Help", "help", "", Action.SEE),
)


def entries(text: str, *, here: str, user: Any) -> list[Entry]:
    """`here` is the name of the queue whose page is open, or empty."""
    words = text.lower().split()
    queues = _known(user, here)
    verb = next((verb for verb in VERBS if words and verb.word == words[0]), None)
    if verb and may(user, verb.needs):
        return [*_acts(verb, _ranked(queues, words[1:], here), user)][:MOST_ACTIONS] + _many(verb, words[1:])
    found = [*_executions(text.strip(), sight(user))]
    if not words:
        found += _here(queues, here, user)
        queues = [queue for queue in queues if queue.favourite]
    found += [_go(queue) for queue in _ranked(queues, words, "")[:MOST_QUEUES]]
    if words:
        found += _here(queues, here, user, words)
    return found + _pages(words, user) + _settings(words)


# -- queues ----------------------------------------------------------------------------------------


def _known(user: Any, here: str) -> list[_Known]:
    kept, mine = favourites.of(user.pk), sight(user)
    rows = Queue.objects.order_by("name").values_list("id", "name", "paused", "draining")
    return [_Known(name, paused, draining, id in kept) for id, name, paused, draining in rows if mine.covers(name)]


def _ranked(queues: Iterable[_Known], words: list[str], first: str) -> list[_Known]:
    """Those with every word in their name: this page's, favourites, then those that begin with the first word."""
    found = [queue for queue in queues if all(word in queue.name.lower() for word in words)]

    def rank(queue: _Known) -> tuple[bool, bool, bool, bool]:
        name = queue.name.lower()
        begins = bool(words) and name.startswith(words[0])
        return queue.name != first, name != " ".join(words), not queue.favourite, not begins

    return sorted(found, key=rank)


def _go(queue: _Known) -> Entry:
    return Entry("queue", queue.name, reverse("queue", args=[queue.name]), "paused" if queue.paused else "")


def _acts(verb: _Verb, queues: Iterable[_Known], user: Any) -> Iterator[Entry]:
    where = sight(user, verb.needs)
    for queue in queues:
        if verb.fits(queue) and where.covers(queue.name):
            address = reverse(verb.route, args=[queue.name])
            yield Entry("action", verb.said.format(queue.name), address, dialog=True)


def _many(verb: _Verb, words: list[str]) -> list[Entry]:
    """The same verb for all that the text finds."""
    routes = {"pause": "pauses", "resume": "resumptions"}
    if verb.word not in routes:
        return []
    search = " ".join(words)
    label = f"{verb.word.capitalize()} all queues{f' that match “{search}”' if search else ''}…"
    address = reverse(routes[verb.word]) + "?" + urlencode({"all": 1, "search": search})
    return [Entry("action", label, address, dialog=True)]


def _here(queues: Iterable[_Known], here: str, user: Any, words: Iterable[str] = ()) -> list[Entry]:
    ours = [queue for queue in queues if queue.name == here]
    acts = [act for verb in VERBS for act in _acts(verb, ours, user)]
    return _matching(acts, words)


# -- the others ------------------------------------------------------------------------------------


def _executions(text: str, sight: Sight) -> list[Entry]:
    """By a whole id or the beginning of one, which is a stretch of the index of ids."""
    digits = text.replace("-", "").lower()
    if not LEAST_OF_AN_ID <= len(digits) <= ID_DIGITS or set(digits) - set("0123456789abcdef"):
        return []
    first, last = UUID(digits.ljust(ID_DIGITS, "0")), UUID(digits.ljust(ID_DIGITS, "f"))
    found = (
        Execution.objects.filter(id__gte=first, id__lte=last)
        .order_by("id")
        .values_list("id", "workflow", "status")
    )
    if (mine := sight.queue_ids()) is not None:
        found = found.filter(queue_id__in=mine)
    return [
        Entry("execution", str(id), reverse("execution", args=[id]), f"{workflow}, {status}")
        for id, workflow, status in found[:MOST_EXECUTIONS]
    ]


def _pages(words: list[str], user: Any) -> list[Entry]:
    pages = [
        Entry("page", label, reverse(route) + query) for label, route, query, needed in PAGES if may(user, needed)
    ]
    keys = Entry("page", "Keyboard shortcuts", reverse("shortcuts"), "?", dialog=True)
    made = Entry("page", "New schedule…", reverse("new-schedule"))
    return _matching([*pages, *([made] if may(user, Action.SCHEDULE) else []), keys], words)


def _settings(words: list[str]) -> list[Entry]:
    themes = (("system", "as the system"), ("light", "light"), ("dark", "dark"))
    return _matching([Entry("setting", f"Theme: {said}", theme=theme) for theme, said in themes], words)


def _matching(entries: Iterable[Entry], words: Iterable[str]) -> list[Entry]:
    return [entry for entry in entries if all(word in entry.label.lower() for word in words)]
