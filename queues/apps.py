from __future__ import annotations

from django.apps import AppConfig


class QueuesConfig(AppConfig):
    name = "queues"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .engine.duties import also_do
        from .rollup import roll_up
        from .vacuum import look_for_pins

        for duty in (roll_up, look_for_pins):
            if duty not in also_do:
                also_do.append(duty)
