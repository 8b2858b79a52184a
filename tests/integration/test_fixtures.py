"""What other tests rely on."""

from __future__ import annotations

import psycopg
import pytest
from django.contrib.auth.models import Group, User


def test_other_connections_see_what_is_written(dsn: str) -> None:
    User.objects.create_user("ada")
    with psycopg.connect(dsn) as db:
        assert db.execute("select username from auth_user").fetchall() == [("ada",)]


async def test_async_connections_work(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as db:
        cursor = await db.execute("select count(*) from auth_user")
        assert await cursor.fetchone() == (0,)


@pytest.mark.django_db(transaction=True)
def test_the_roles_are_there() -> None:
    assert User.objects.count() == 0
    assert set(Group.objects.values_list("name", flat=True)) == {"viewer", "operator", "admin"}


@pytest.mark.django_db(transaction=True)
def test_the_roles_are_still_there() -> None:
    test_the_roles_are_there()
