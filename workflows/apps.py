from __future__ import annotations

from django.apps import AppConfig


class WorkflowsConfig(AppConfig):
    name = "workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from queues.engine.duties import also_prune

        from .steps import prune_steps

        if prune_steps not in also_prune:
            also_prune.append(prune_steps)
