from __future__ import annotations

from collections.abc import Iterator

import pytest

from .interleavings import Stage


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long", default=False))


@pytest.fixture(autouse=True)
def close_stages() -> Iterator[None]:
    yield
    while Stage.opened:
        Stage.opened.pop().close()
