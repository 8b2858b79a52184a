from __future__ import annotations

from django.apps import AppConfig


class QueuesConfig(AppConfig):
    name = "queues"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .engine.duties import also_do
        from .rollup import roll_up

        if roll_up not in also_do:
            also_do.append(roll_up)
