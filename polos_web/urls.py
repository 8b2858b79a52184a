from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("queues.ops_urls")),
    path("", include("queues.urls")),
    path("", include("workflows.urls")),
    path("", include("queues.ops_urls")),
    path("admin/", admin.site.urls),
]
