"""Who may do what where: a role counts on every queue, a grant on those that its pattern names.

Every page, the admin and the socket ask here; API keys are matched against names by the same `covers`. Who may not
see a queue gets the answer that a queue that does not exist gets: 404, and absence from every list.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponseBase

from .models import Execution, Grant, Queue
from .names import pattern_regex

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
Guarded = Callable[Concatenate[HttpRequest, P], HttpResponseBase]

NO_EXECUTION = "There is no such execution. Finished ones are kept for some time, then deleted."


class Role(enum.StrEnum):
    """Names of the Django groups, weakest first. A superuser is an admin."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Level(enum.IntEnum):
    """What one may do to a queue; each includes those before it."""

    SEE = 1
    OPERATE = 2
    TUNE = 3

    @classmethod
    def of(cls, granted: str) -> Level:
        return cls[granted.upper()]


class Action(enum.StrEnum):
    SEE = "see"
    PAUSE = "pause or resume a queue"
    DRAIN = "drain a queue"
    PURGE = "purge a queue"
    RELEASE = "release a slot"
    WORKER = "drain a worker"
    CANCEL = "cancel an execution"
    RETRY = "retry an execution"
    ANSWER = "answer an execution"
    PRIORITY = "change the priority of an execution"
    RERUN = "run an execution again"
    SCHEDULE = "manage schedules"
    LIMIT = "change a limit"
    PEOPLE = "manage people"


NEEDED: dict[Action, Level | None] = {
    Action.SEE: Level.SEE,
    Action.PAUSE: Level.OPERATE,
    Action.DRAIN: Level.OPERATE,
    Action.PURGE: Level.OPERATE,
    Action.RELEASE: Level.OPERATE,
    Action.WORKER: Level.OPERATE,
    Action.CANCEL: Level.OPERATE,
    Action.RETRY: Level.OPERATE,
    Action.ANSWER: Level.OPERATE,
    Action.PRIORITY: Level.OPERATE,
    Action.RERUN: Level.OPERATE,
    Action.SCHEDULE: Level.OPERATE,
    Action.LIMIT: Level.TUNE,
    Action.PEOPLE: None,  # about no queue: for admins, whatever is granted
}
ROLE_LEVEL = {Role.VIEWER: Level.SEE, Role.OPERATOR: Level.OPERATE, Role.ADMIN: Level.TUNE}


# -- where one may do something --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sight:
    """The queues that somebody may do something to. `patterns` None: all of them; empty: none."""

    patterns: tuple[str, ...] | None = None

    @property
    def everywhere(self) -> bool:
        return self.patterns is None

    @property
    def nowhere(self) -> bool:
        return self.patterns == ()

    def covers(self, queue: str) -> bool:
        return self.patterns is None or covers(self.patterns, queue)

    def queue_ids(self) -> list[int] | None:
        """For a query; None: no need to ask which."""
        if self.patterns is None:
            return None
        return [id for id, name in Queue.objects.values_list("id", "name") if covers(self.patterns, name)]


EVERYWHERE, NOWHERE = Sight(), Sight(())


def covers(patterns: tuple[str, ...], queue: str) -> bool:
    """Whether one of the patterns (`billing/*`) names this queue."""
    return bool(patterns) and pattern_regex(patterns).fullmatch(queue) is not None


# -- what a person may do --------------------------------------------------------------------------


def role_of(user: Any) -> Role | None:
    """The strongest role of an active person; None for strangers and for accounts without a role."""
    if not (user and user.is_authenticated and user.is_active):
        return None
    if user.is_superuser:
        return Role.ADMIN
    names = _group_names(user)
    return next((role for role in reversed(Role) if role.value in names), None)


def sight(user: Any, action: Action = Action.SEE) -> Sight:
    """Where this person may do this. Reads the person's groups and grants, once for each user object."""
    role, needed = role_of(user), NEEDED[action]
    if needed is None:
        return EVERYWHERE if role is Role.ADMIN else Sight(())
    if role is not None and ROLE_LEVEL[role] >= needed:
        return EVERYWHERE
    if not (user and user.is_authenticated and user.is_active):
        return Sight(())
    return Sight(tuple(sorted({pattern for level, pattern in _granted(user) if level >= needed})))


def may(user: Any, action: Action, queue: str | None = None) -> bool:
    """On this queue; without one, whether there is any queue on which the person may."""
    where = sight(user, action)
    return not where.nowhere if queue is None else where.covers(queue)


def sights(user_ids: Iterable[Any]) -> dict[Any, Sight]:
    """What these people may see now, from the database: three queries for any number of them.

    A socket lives for hours, so the user object that opened it proves nothing.
    """
    users = get_user_model().objects.filter(pk__in=set(user_ids)).prefetch_related("groups")
    found = {user.pk: user for user in users}
    granted: dict[Any, list[tuple[Level, str]]] = {pk: [] for pk in found}
    members = {pk: {group.pk for group in user.groups.all()} for pk, user in found.items()}
    teams = {group for groups in members.values() for group in groups}
    for grant in Grant.objects.filter(Q(user__in=found) | Q(group__in=teams)):
        for pk, groups in members.items():
            if grant.user_id == pk or grant.group_id in groups:
                granted[pk].append((Level.of(grant.level), grant.pattern))
    for pk, user in found.items():
        user._polos_grants = granted[pk]  # type: ignore[attr-defined]
    return {pk: sight(user) for pk, user in found.items()}


# -- guarding --------------------------------------------------------------------------------------


def needs(
    action: Action, *, of: Callable[..., str | None] | None = None, missing: str = NO_EXECUTION
) -> Callable[[View[P]], Guarded[P]]:
    """A view for those who may do `action` on the queue that its address names: strangers sign in first.

    The queue is the argument `name` of the view, or what `of` makes of its arguments; `missing` is then said of
    what is on it. Who may not see it gets 404, who sees it and may not act gets 403. Without a queue, it is enough
    that there is one somewhere.
    """

    def decorate(view: View[P]) -> Guarded[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            check(request.user, action)
            if not sight(request.user, action).everywhere:
                name = of(**kwargs) if of else kwargs.get("name")
                if name is not None:
                    check(request.user, action, cast(str, name), missing=missing if of else "")
            return view(request, *args, **kwargs)

        return cast("Guarded[P]", guarded)

    return decorate


def check(user: Any, action: Action, queue: str | None = None, *, missing: str = "") -> None:
    """Raises `Http404` about a queue that the person may not see, else `PermissionDenied` with a sentence.

    `missing` is what is said to be missing instead of the queue: what is on it must not name it.
    """
    if may(user, action, queue):
        return
    if queue is not None and not may(user, Action.SEE, queue):
        raise Http404(missing) if missing else no_queue(queue)
    role = role_of(user)
    if role is not None:
        raise PermissionDenied(f"Your role is {role}, and it may not {action}.")
    if queue is None and not may(user, Action.SEE):
        raise PermissionDenied("Your account has no role yet.")
    raise PermissionDenied(f"You have grants on some queues, and they do not let you {action} here.")


def no_queue(name: str) -> Http404:
    return Http404(f"There is no queue named “{name}”.")


def queue_of_execution(id: UUID) -> str:
    """For `needs(…, of=queue_of_execution)`. An execution that one may not see is as one that is not there."""
    name = Execution.objects.filter(id=id).values_list("queue__name", flat=True).first()
    if name is None:
        raise Http404(NO_EXECUTION)
    return name


# -- reading, once for each user object ------------------------------------------------------------


def _group_names(user: Any) -> frozenset[str]:
    # Asked several times for one page: kept on the user object, which lives as long as the request.
    names: frozenset[str] | None = getattr(user, "_polos_groups", None)
    if names is None:
        names = frozenset(group.name for group in user.groups.all())
        user._polos_groups = names
    return names


def _granted(user: Any) -> list[tuple[Level, str]]:
    granted: list[tuple[Level, str]] | None = getattr(user, "_polos_grants", None)
    if granted is None:
        mine = Grant.objects.filter(Q(user_id=user.pk) | Q(group__user=user.pk))
        granted = [(Level.of(level), pattern) for level, pattern in mine.values_list("level", "pattern")]
        user._polos_grants = granted
    return granted
