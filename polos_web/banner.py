"""What a person sees once, when the server is ready."""

from __future__ import annotations

from importlib.metadata import version
from typing import NamedTuple

from django.conf import settings

from queues.keys import local_mode_on

from . import people
from .embedded import MAJOR


class Banner(NamedTuple):
    text: str
    first_page: str


def make(*, demo: bool) -> Banner:
    address = people.base_url()
    first_admin = people.ensure_first_admin()
    link = people.link_for(first_admin, created_by="start") if first_admin else ""
    lines = [("Address", address), ("Sign in", _sign_in(link)), ("Data", _data()), ("Keys", _keys())]
    if demo:
        lines.append(("Demo", "one worker and repeating bursts of work; data of its own"))
    lines.append(("Stop", "Ctrl-C (a second time: at once)"))
    text = "\n".join(f"  {name:<9} {words}" for name, words in lines)
    return Banner(f"\n  Polos {version('polos-web')} is running.\n\n{text}\n", link or address)


def _sign_in(link: str) -> str:
    if not link:
        return "with your password; polos-server signin-link prints a one-time link"
    return f"{link}\n{'':<12}(as {people.FIRST_ADMIN}; works once, within 24 hours)"


def _data() -> str:
    if settings.DATABASE_URL:
        return "in the database of DATABASE_URL"
    return f"{settings.POLOS_DATA_DIR} (embedded PostgreSQL {MAJOR})"


def _keys() -> str:
    if local_mode_on():
        return "local mode: workers on this machine need no API key until the first one is made"
    return "workers and clients need an API key; polos-server createkey makes one"
