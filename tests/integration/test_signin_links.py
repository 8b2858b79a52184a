from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from queues import signin
from queues.models import SignInLink

pytestmark = pytest.mark.django_db


def test_a_link_signs_in_once() -> None:
    user = User.objects.create_user("ada")
    token = signin.make_link(user, "admin")
    assert signin.consume(token) == user
    assert signin.consume(token) is None


def test_looking_at_a_link_does_not_use_it_up() -> None:
    token = signin.make_link(User.objects.create_user("ada"), "admin")
    assert signin.find(token)
    assert signin.consume(token)


def test_an_old_link_is_refused() -> None:
    token = signin.make_link(User.objects.create_user("ada"), "admin")
    SignInLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert signin.consume(token) is None


def test_a_link_of_a_locked_account_is_refused() -> None:
    user = User.objects.create_user("ada")
    token = signin.make_link(user, "admin")
    User.objects.update(is_active=False)
    assert signin.consume(token) is None


def test_only_a_hash_is_stored() -> None:
    token = signin.make_link(User.objects.create_user("ada"), "admin")
    assert token not in str(SignInLink.objects.values().get())
