"""A command's use of the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import django

from .. import embedded


@contextmanager
def opened(*, migrated: bool = True) -> Iterator[None]:
    """Django is set up and the database answers, with its schema up to date unless told otherwise."""
    django.setup(set_prefix=False)
    from ..migrating import connect, migrate

    with embedded.running_for_settings():
        connect().close()
        if migrated:
            migrate()
        try:
            yield
        finally:
            from django.db import connection

            connection.close()
            connection.close_pool()  # type: ignore[attr-defined]
