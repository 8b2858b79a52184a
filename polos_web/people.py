"""Accounts that the command line makes, and where their sign-in links lead."""

from __future__ import annotations

from contextlib import suppress

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction

from queues import signin
from queues.access import Role

FIRST_ADMIN = "admin"


def ensure_first_admin() -> User | None:
    """The first admin while nobody has set its password; made when there is no admin at all."""
    if not User.objects.filter(is_superuser=True).exists():
        with suppress(IntegrityError):  # another server that starts with us was faster
            make_admin(FIRST_ADMIN)
    first = User.objects.filter(username=FIRST_ADMIN, is_superuser=True, is_active=True).first()
    return first if first and not first.has_usable_password() else None


@transaction.atomic
def make_admin(username: str) -> User:
    user = User.objects.create_superuser(username, password=None)
    user.groups.add(Group.objects.get_or_create(name=Role.ADMIN.value)[0])
    return user


def make_checked_admin(username: str) -> User:
    """For a name that a person typed; raises ValidationError."""
    User(username=username, password="-").full_clean()  # noqa: S106
    return make_admin(username)


def link_for(user: User, *, created_by: str) -> str:
    return f"{base_url()}/signin/{signin.make_link(user, created_by)}"


def base_url() -> str:
    """Where people reach this server, as far as the settings tell."""
    if settings.POLOS_PUBLIC_URL:
        return str(settings.POLOS_PUBLIC_URL)
    return local_url()


def local_url() -> str:
    """Where programs on this machine reach it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.POLOS_HOST, settings.POLOS_HOST)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.POLOS_PORT}"
