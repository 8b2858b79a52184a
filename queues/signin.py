"""One-time links that sign a person in and lead to setting a password."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from .models import SignInLink

VALID_FOR = timedelta(hours=24)


def make_link(user: User, created_by: str) -> str:
    """The token for `/signin/<token>`. It is nowhere else: only its hash is stored."""
    token = secrets.token_urlsafe(32)
    expires_at = timezone.now() + VALID_FOR
    SignInLink.objects.create(token_hash=_hash(token), user=user, created_by=created_by, expires_at=expires_at)
    return token


def find(token: str) -> SignInLink | None:
    """The link while it can still be used; looking does not use it up."""
    now = timezone.now()
    usable = SignInLink.objects.filter(token_hash=_hash(token), used_at=None, expires_at__gt=now)
    return usable.filter(user__is_active=True).select_related("user").first()


def consume(token: str) -> User | None:
    """Uses the link up. None when it is unknown, too old, or used: two at the same time cannot both have it."""
    with transaction.atomic():
        link = find(token)
        if link is None:
            return None
        unused = SignInLink.objects.filter(token_hash=link.token_hash, used_at=None)
        return link.user if unused.update(used_at=timezone.now()) else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
