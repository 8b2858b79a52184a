from __future__ import annotations

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    name = "workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from queues.engine.duties import also_do, also_prune
        from queues.engine.events import subscribers

        from .declaring import forget_gone
        from .logs import forget_logs, prune_logs
        from .steps import prune_steps
        from .ticking import prune_ticks, tick_schedules
        from .triggers import deliver, prune_arrivals, triggers

        for prune in (prune_steps, prune_logs, prune_ticks, prune_arrivals):
            if prune not in also_prune:
                also_prune.append(prune)
        for duty in (tick_schedules, deliver, forget_gone, forget_logs):
            if duty not in also_do:
                also_do.append(duty)
        if triggers not in subscribers:
            subscribers.append(triggers)
