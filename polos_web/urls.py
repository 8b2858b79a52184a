from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", include("queues.ops_urls")),
    path("", include("queues.urls")),
    path("", include("workflows.urls")),
    path("admin/", admin.site.urls),
    # Browsers and bookmarks ask for it without having read the page that names the icon.
    path("favicon.ico", login_not_required(RedirectView.as_view(url=static("img/icon.svg")))),
]
