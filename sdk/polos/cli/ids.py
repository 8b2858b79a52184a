"""Ids of executions, as somebody types them or copies them from a table."""

from __future__ import annotations

import argparse
import re
import sys
import uuid
from collections.abc import Awaitable, Callable

from .._client import PolosClient
from .._errors import Invalid, NotFound, RequestRefused
from .pages import SHORT_PATIENCE
from .tables import DOTS

_SHORT = re.compile(r"[0-9a-f][0-9a-f-]{5,}|[0-9a-f-]*(?:…|\.\.\.)[0-9a-f]{6,12}")


def execution_id(text: str) -> str:
    """For argparse: a whole id, its beginning, or as pages and tables shorten it."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        if _SHORT.fullmatch(text.lower()):
            return text.lower().replace("...", DOTS)
        raise argparse.ArgumentTypeError(
            f"{text!r} is no id of an execution, nor the beginning of one (six digits or more). "
            "`polos executions` and the pages show them."
        ) from None


async def whole_id(client: PolosClient, id: str) -> str:
    """The id that begins so, or that was shortened to this; NotFound or Invalid when it is not one."""
    try:
        return str(uuid.UUID(id))
    except ValueError:
        found = await client.list_executions(f"id:{id}", limit=2)
    if len(found) > 1:
        raise Invalid(422, f"Several executions have an id like {id}: give more of it.")
    if not found:
        raise NotFound(404, f"There is no execution {id}.")
    return found[0].id


async def for_each(options: argparse.Namespace, act: Callable[[PolosClient, str], Awaitable[str]]) -> int:
    """Does it with each of `options.ids` and prints what came of it; 1 when one of them could not be done."""
    status = 0
    async with PolosClient(options.api_url, patience=SHORT_PATIENCE) as client:
        for id in options.ids:
            try:
                print(await act(client, await whole_id(client, id)), flush=True)
            except RequestRefused as error:
                print(f"{id}: {error.detail}", file=sys.stderr)
                status = 1
    return status
