"""What workers declare: workflows; and what their executions checkpoint: steps."""

from __future__ import annotations

from django.db import models

from queues.models import RawJSONField


class Workflow(models.Model):
    """A registered function: id, queue, options. The queue is where it goes when nobody says otherwise."""

    id = models.CharField(primary_key=True, max_length=200)
    queue = models.ForeignKey("queues.Queue", on_delete=models.CASCADE, related_name="workflows")
    description = models.CharField(max_length=500, blank=True, default="")
    max_attempts = models.PositiveIntegerField(default=1)
    registered_at = models.DateTimeField()

    class Meta:
        ordering = ("id",)

    def __str__(self) -> str:
        return self.id


class Step(models.Model):
    """A named, checkpointed part of an execution. Written once: a second write of the same key is a repeat."""

    execution_id = models.UUIDField()
    key = models.CharField(max_length=200)
    result = RawJSONField(null=True, blank=True)
    error = RawJSONField(null=True, blank=True)
    attempt = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    child_id = models.UUIDField(null=True, blank=True)  # of step.invoke

    class Meta:
        constraints = (models.UniqueConstraint(fields=("execution_id", "key"), name="step_once"),)

    def __str__(self) -> str:
        return self.key
