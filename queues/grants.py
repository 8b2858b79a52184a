"""Roles, teams and grants: who gives whom what. Each verb is one transaction and a line in the trail of people."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet

from .access import NEEDED, Action, Level, Role, may, role_of, sight
from .models import Change, Grant, PersonChange
from .names import pattern_problem

Kind = PersonChange.Kind
MOST_CHANGES = 100


class NotGranted(Exception):
    """Nothing was changed; the message says why in a sentence."""


class ChangedSince(NotGranted):
    """Somebody else changed what the person or team may do since the caller looked."""


def version(of: User | Group) -> int:
    """Grows with every change of what the person or team may do."""
    return _changes_of(of).values_list("id", flat=True).first() or 0


def give(
    *, to: User | Group, pattern: str, level: str, by: Any, through: Change.Through, expected: int | None = None
) -> Grant:
    """A pattern that the person or team has already gets the new level. Nobody gives more than they have.

    `expected` is the `version` that was seen: raises `ChangedSince` when there is another one. So do the others.
    """
    if problem := pattern_problem(pattern):
        raise NotGranted(problem)
    _check_reach(by, Level.of(level))
    with transaction.atomic():
        _check_version(to, expected)
        before = Grant.objects.select_for_update().filter(**_to(to), pattern=pattern).first()
        grant, _ = Grant.objects.update_or_create(
            **_to(to), pattern=pattern, defaults={"level": level, "granted_by": by.get_username()}
        )
        note(Kind.GRANT, to, before.level if before else "", level, by=by, through=through, subject=pattern)
    return grant


def take(grant: Grant, *, by: Any, through: Change.Through, expected: int | None = None) -> None:
    """Its sockets close within a minute; pages and lists know it with the next request."""
    _check_reach(by, Level.of(grant.level))
    with transaction.atomic():
        _check_version(grant.to, expected)
        if Grant.objects.filter(id=grant.id).delete()[0]:
            note(Kind.GRANT, grant.to, grant.level, "", by=by, through=through, subject=grant.pattern)


def set_role(
    user: User, role: Role | None, *, by: Any, through: Change.Through, expected: int | None = None
) -> None:
    """Exactly one of the three roles, or none; teams stay. Admins may also open the Django admin."""
    if role_of(by) is not Role.ADMIN:
        raise NotGranted("Only admins give roles.")
    with transaction.atomic():
        _check_version(user, expected)
        before = role_in(user)
        user.groups.remove(*Group.objects.filter(name__in=list(Role)))
        if role:
            user.groups.add(Group.objects.get(name=role))
        User.objects.filter(id=user.id).update(is_staff=role is Role.ADMIN)
        if before != role:
            note(Kind.ROLE, user, before or "", role or "", by=by, through=through)


def set_active(user: User, active: bool, *, by: Any, through: Change.Through, expected: int | None = None) -> None:
    """Off ends their sessions, too; role, teams and grants stay."""
    with transaction.atomic():
        _check_version(user, expected)
        if User.objects.filter(id=user.id, is_active=not active).update(is_active=active):
            before, after = ("deactivated", "active") if active else ("active", "deactivated")
            note(Kind.ACCOUNT, user, before, after, by=by, through=through)


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
    PersonChange.objects.create(
        about=_name(about), kind=kind, subject=subject, before=before[:40], after=after[:40],
        actor=by.get_username(), through=through,
    )  # fmt: skip


def changes() -> list[PersonChange]:
    return list(PersonChange.objects.all()[:MOST_CHANGES])


def _changes_of(about: User | Group) -> QuerySet[PersonChange]:
    return PersonChange.objects.filter(about=_name(about)).exclude(kind=Kind.LINK).order_by("-id")


def _name(about: User | Group) -> str:
    return (about.get_username() if isinstance(about, User) else f"team {about.name}")[:160]


def _check_version(of: User | Group, expected: int | None) -> None:
    """Locks the person or team first, so that of two who saw the same only one changes it."""
    type(of)._default_manager.select_for_update().filter(pk=of.pk).first()
    missed = [] if expected is None else list(_changes_of(of).filter(id__gt=expected)[:3])
    if not missed:
        return
    told = " and ".join(
        f"{one.actor} changed the {one.get_kind_display()}{f' {one.subject}' if one.subject else ''} "
        f"from {one.before or 'none'} to {one.after or 'none'}"
        for one in missed
    )
    raise ChangedSince(f"{told} since you opened this. Nothing was changed: look again, then decide.")


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
