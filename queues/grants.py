"""Roles, teams and grants: who gives whom what. Each verb is one transaction and a line in the trail of people."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.db import transaction

from .access import NEEDED, Action, Level, Role, may, role_of, sight
from .models import Change, Grant, PersonChange
from .names import pattern_problem

Kind = PersonChange.Kind
MOST_CHANGES = 100


class NotGranted(Exception):
    """Nothing was changed; the message says why in a sentence."""


def give(*, to: User | Group, pattern: str, level: str, by: Any, through: Change.Through) -> Grant:
    """A pattern that the person or team has already gets the new level. Nobody gives more than they have."""
    if problem := pattern_problem(pattern):
        raise NotGranted(problem)
    _check_reach(by, Level.of(level))
    with transaction.atomic():
        before = Grant.objects.select_for_update().filter(**_to(to), pattern=pattern).first()
        grant, _ = Grant.objects.update_or_create(
            **_to(to), pattern=pattern, defaults={"level": level, "granted_by": by.get_username()}
        )
        note(Kind.GRANT, to, before.level if before else "", level, by=by, through=through, subject=pattern)
    return grant


def take(grant: Grant, *, by: Any, through: Change.Through) -> None:
    """Its sockets close within a minute; pages and lists know it with the next request."""
    _check_reach(by, Level.of(grant.level))
    with transaction.atomic():
        if Grant.objects.filter(id=grant.id).delete()[0]:
            note(Kind.GRANT, grant.to, grant.level, "", by=by, through=through, subject=grant.pattern)


def set_role(user: User, role: Role, *, by: Any, through: Change.Through) -> None:
    """Exactly one of the three roles; teams stay. Admins may also open the Django admin."""
    if role_of(by) is not Role.ADMIN:
        raise NotGranted("Only admins give roles.")
    with transaction.atomic():
        before = role_in(user)
        user.groups.remove(*Group.objects.filter(name__in=list(Role)))
        user.groups.add(Group.objects.get(name=role))
        User.objects.filter(id=user.id).update(is_staff=role is Role.ADMIN)
        if before != role:
            note(Kind.ROLE, user, before or "", role, by=by, through=through)


def role_in(user: User) -> Role | None:
    """The strongest of the person's groups, also of somebody who is deactivated."""
    names = {group.name for group in user.groups.all()}
    return next((role for role in reversed(Role) if role in names), None)


def note(
    kind: PersonChange.Kind,
    about: User | Group,
    before: str,
    after: str,
    *,
    by: Any,
    through: Change.Through,
    subject: str = "",
) -> None:
    """A line in the trail of people. Call it in the transaction of the change."""
    name = about.get_username() if isinstance(about, User) else f"team {about.name}"
    PersonChange.objects.create(
        about=name[:160], kind=kind, subject=subject, before=before[:40], after=after[:40],
        actor=by.get_username(), through=through,
    )  # fmt: skip


def changes() -> list[PersonChange]:
    return list(PersonChange.objects.all()[:MOST_CHANGES])


def is_role(group: Group) -> bool:
    return group.name in set(Role)


def _check_reach(by: Any, level: Level) -> None:
    """Whoever gives it must manage people, and may do it on every queue: a pattern names queues to come, too."""
    if not may(by, Action.PEOPLE):
        raise NotGranted("Only admins give and take grants.")
    if not all(sight(by, action).everywhere for action, needed in NEEDED.items() if needed and needed <= level):
        raise NotGranted(f"You cannot give or take “{level.name.lower()}”: you do not have it yourself.")


def _to(to: User | Group) -> dict[str, Any]:
    return {"user": to} if isinstance(to, User) else {"group": to}
