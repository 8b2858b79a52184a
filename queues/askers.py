"""What somebody who asked for something that goes on in the background may do now, not when they asked."""

from __future__ import annotations

from django.contrib.auth.models import User

from .access import EVERYWHERE, NOWHERE, Action, Sight, sight
from .models import ApiKey, Change

KEY = "key "  # before a key's name, see `keys.Principal.actor`


def reach(actor: str, through: str, action: Action) -> Sight:
    """Of a person or an API key; the server's own commands and callers in local mode are not narrowed."""
    if through in (Change.Through.PAGE, Change.Through.ADMIN):
        return sight(User.objects.filter(username=actor).first(), action)
    if through == Change.Through.REST and actor.startswith(KEY):
        return _of_key(actor.removeprefix(KEY))
    return EVERYWHERE


def _of_key(name: str) -> Sight:
    key = ApiKey.objects.filter(name=name, revoked_at=None, scope=ApiKey.Scope.FULL).first()
    if key is None:
        return NOWHERE
    return Sight(tuple(key.queue_patterns)) if key.queue_patterns else EVERYWHERE
