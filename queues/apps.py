from __future__ import annotations

from django.apps import AppConfig


class QueuesConfig(AppConfig):
    name = "queues"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from .bulk_acts import work_on_bulk_acts
        from .engine.duties import also_do, also_prune
        from .engine.rerun import prune_reruns
        from .rollup import roll_up
        from .vacuum import look_for_pins

        for duty in (roll_up, look_for_pins, work_on_bulk_acts):
            if duty not in also_do:
                also_do.append(duty)
        if prune_reruns not in also_prune:
            also_prune.append(prune_reruns)
