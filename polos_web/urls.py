from __future__ import annotations

from importlib import import_module

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [path("admin/", admin.site.urls)]

for _module in ("queues.urls", "workflows.urls"):
    try:
        import_module(_module)
    except ImportError:
        continue
    urlpatterns.append(path("", include(_module)))
