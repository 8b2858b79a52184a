"""The ASGI application, for `polos-server start` and for any ASGI server."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polos_web.settings")
django.setup(set_prefix=False)

from .application import application  # noqa: E402  (imports models, which need the apps)

__all__ = ["application"]
