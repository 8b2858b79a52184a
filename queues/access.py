"""Who may do what: three roles, one matrix. Every route, the admin and the socket ask here."""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]
Guarded = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


class Role(enum.StrEnum):
    """Names of the Django groups, weakest first. A superuser is an admin."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Action(enum.StrEnum):
    SEE = "see"
    PAUSE = "pause or resume a queue"
    CANCEL = "cancel an execution"
    RETRY = "retry an execution"
    LIMIT = "change a limit"
    PEOPLE = "manage people"


_EVERYBODY = frozenset(Role)
_OPERATORS = frozenset((Role.OPERATOR, Role.ADMIN))
_ADMINS = frozenset((Role.ADMIN,))

MATRIX: dict[Action, frozenset[Role]] = {
    Action.SEE: _EVERYBODY,
    Action.PAUSE: _OPERATORS,
    Action.CANCEL: _OPERATORS,
    Action.RETRY: _OPERATORS,
    Action.LIMIT: _ADMINS,
    Action.PEOPLE: _ADMINS,
}


def role_of(user: Any) -> Role | None:
    """The strongest role of an active person; None for strangers and for accounts without a role."""
    if not (user and user.is_authenticated and user.is_active):
        return None
    if user.is_superuser:
        return Role.ADMIN
    names = _group_names(user)
    return next((role for role in reversed(Role) if role.value in names), None)


def may(user: Any, action: Action) -> bool:
    return role_of(user) in MATRIX[action]


def may_watch(user: Any) -> bool:
    """Whether the live socket may tell this person anything, from the database (a sync read).

    A socket lives for hours, so the user object that opened it proves nothing.
    """
    if not (user and user.is_authenticated):
        return False
    return may(get_user_model().objects.filter(pk=user.pk).first(), Action.SEE)


def needs(action: Action) -> Callable[[View[P]], Guarded[P]]:
    """A view for those who may do `action`: strangers sign in first, the others get 403."""

    def decorate(view: View[P]) -> Guarded[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return redirect_to_login(request.get_full_path())
            check(request.user, action)
            return view(request, *args, **kwargs)

        return cast("Guarded[P]", guarded)

    return decorate


def check(user: Any, action: Action) -> None:
    """Raises PermissionDenied with a sentence for the 403 page."""
    role = role_of(user)
    if role in MATRIX[action]:
        return
    if role is None:
        raise PermissionDenied("Your account has no role yet.")
    raise PermissionDenied(f"Your role is {role}, and it may not {action}.")


def _group_names(user: Any) -> frozenset[str]:
    # Asked several times for one page: kept on the user object, which lives as long as the request.
    names: frozenset[str] | None = getattr(user, "_polos_groups", None)
    if names is None:
        names = frozenset(group.name for group in user.groups.all())
        user._polos_groups = names
    return names
