"""What workers declare: workflows; what executions checkpoint: steps; what they tell: log lines and progress; what
starts them in time: schedules."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from queues.ids import uuid7
from queues.models import RawJSONField


class Workflow(models.Model):
    """A registered function: id, queue, options. The queue is where it goes when nobody says otherwise."""

    id = models.CharField(primary_key=True, max_length=200)
    queue = models.ForeignKey("queues.Queue", on_delete=models.CASCADE, related_name="workflows")
    description = models.CharField(max_length=500, blank=True, default="")
    max_attempts = models.PositiveIntegerField(default=1)
    priority = models.IntegerField(default=0, db_default=0)
    queue_timeout = models.FloatField(null=True, blank=True)  # seconds
    execution_timeout = models.FloatField(null=True, blank=True)  # seconds
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


class Schedule(models.Model):
    """When executions of a workflow start by themselves. `workflows/timing.py` says when that is."""

    class CatchUp(models.TextChoices):
        SKIP = "skip", "none of them"
        LATEST = "latest", "only the latest"
        ALL = "all", "all of them"

    class Overlap(models.TextChoices):
        ALLOW = "allow", "start beside it"
        SKIP = "skip", "skip this tick"
        CANCEL = "cancel", "cancel it, then start"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200, unique=True)
    workflow = models.CharField(max_length=200)
    queue = models.ForeignKey(
        "queues.Queue", on_delete=models.CASCADE, null=True, blank=True
    )  # empty: its workflow's

    cron = models.CharField(max_length=200, blank=True, default="")
    timezone = models.CharField(max_length=100, default="UTC")
    every = models.PositiveIntegerField(null=True, blank=True)  # seconds, counted from `anchor`
    at = models.DateTimeField(null=True, blank=True)
    anchor = models.DateTimeField()

    payload = models.TextField(null=True, blank=True)  # noqa: DJ001 - JSON as it was given; empty: the tick itself
    catch_up = models.CharField(max_length=10, choices=CatchUp.choices, default=CatchUp.LATEST)
    catch_up_most = models.PositiveIntegerField(default=100)
    overlap = models.CharField(max_length=10, choices=Overlap.choices, default=Overlap.ALLOW)

    paused = models.BooleanField(default=False)
    paused_by = models.CharField(max_length=150, blank=True, default="")
    paused_reason = models.CharField(max_length=500, blank=True, default="")
    paused_at = models.DateTimeField(null=True, blank=True)

    next_at = models.DateTimeField(null=True, blank=True)  # empty: paused, or over
    ticked_at = models.DateTimeField(null=True, blank=True)  # the last tick that was dealt with

    declared = models.BooleanField(default=False)  # by code; then only code changes or removes it
    declared_by = models.CharField(max_length=200, blank=True, default="")  # worker
    place = models.CharField(max_length=300, blank=True, default="")  # file:line
    created_by = models.CharField(max_length=200)
    created_at = models.DateTimeField()
    version = models.PositiveBigIntegerField(default=1)  # +1 with every change, not with ticks

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                name="schedule_ticks_in_one_way",
                condition=(~Q(cron="") & Q(every__isnull=True, at__isnull=True))
                | Q(cron="", every__isnull=False, at__isnull=True)
                | Q(cron="", every__isnull=True, at__isnull=False),
            ),
            models.CheckConstraint(
                name="schedule_paused_has_no_next",
                condition=Q(paused=False) | Q(next_at__isnull=True, paused_at__isnull=False),
            ),
            models.UniqueConstraint(
                fields=("workflow",), name="schedule_declared_once", condition=Q(declared=True)
            ),
        )
        indexes = (
            models.Index(fields=("next_at",), name="schedule_due", condition=Q(next_at__isnull=False)),
            models.Index(fields=("workflow",), name="schedule_by_workflow"),
        )

    def __str__(self) -> str:
        return self.name


class Trigger(models.Model):
    """Events on a topic start executions of a workflow. Declared by code, like the workflow."""

    workflow = models.CharField(max_length=200, unique=True)
    topic = models.CharField(max_length=200)
    batch_size = models.PositiveIntegerField(default=1)
    batch_timeout = models.FloatField(null=True, blank=True)  # seconds; empty: a batch waits until it is full
    declared_by = models.CharField(max_length=200, blank=True, default="")  # worker
    place = models.CharField(max_length=300, blank=True, default="")  # file:line
    declared_at = models.DateTimeField()

    class Meta:
        ordering = ("workflow",)
        indexes = (models.Index(fields=("topic",), name="trigger_by_topic"),)

    def __str__(self) -> str:
        return f"{self.topic} starts {self.workflow}"

    @property
    def is_batch(self) -> bool:
        return self.batch_size > 1 or self.batch_timeout is not None


class Arrival(models.Model):
    """An event that is to start a triggered workflow. Written with the event, deleted with the start."""

    # Without a constraint: a trigger may go while an event is being published; `prune_arrivals` deletes the rest.
    trigger = models.ForeignKey(Trigger, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    event_id = models.UUIDField()
    at = models.DateTimeField()

    class Meta:
        ordering = ("at", "id")
        indexes = (models.Index(fields=("trigger", "at", "id"), name="arrival_in_order"),)

    def __str__(self) -> str:
        return str(self.event_id)


class Tick(models.Model):
    """One time at which a schedule was due, or was run by hand, and what came of it. Never edited."""

    class Outcome(models.TextChoices):
        STARTED = "started", "started"
        SKIPPED = "skipped", "skipped"
        MISSED = "missed", "missed"

    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="ticks")
    at = models.DateTimeField()
    outcome = models.CharField(max_length=10, choices=Outcome.choices)
    note = models.CharField(max_length=300, blank=True, default="")
    by = models.CharField(max_length=150, blank=True, default="")  # who ran it by hand
    execution_id = models.UUIDField(null=True, blank=True)
    open = models.BooleanField(default=False)  # the execution may not be final yet

    class Meta:
        ordering = ("-at",)
        constraints = (models.UniqueConstraint(fields=("schedule", "at"), name="tick_once"),)
        indexes = (
            models.Index(fields=("schedule",), name="tick_open", condition=Q(open=True)),
            models.Index(
                fields=("execution_id",), name="tick_by_execution", condition=Q(execution_id__isnull=False)
            ),
        )

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.at}"


class Journal(models.Model):
    """Where the log of one execution stands, and how far it said it is. Made by its first word, not before."""

    execution_id = models.UUIDField(primary_key=True)
    token = models.UUIDField()  # of the claim that told last
    seq = models.PositiveBigIntegerField(default=0)  # its last line that was taken
    lines = models.PositiveIntegerField(default=0)  # number of the newest line, over all claims
    first = models.PositiveIntegerField(default=1)  # number of the oldest line that is kept
    progress = models.FloatField(null=True, blank=True)  # from 0 to 1
    progress_text = models.CharField(max_length=500, blank=True, default="")
    progress_at = models.DateTimeField(null=True, blank=True)  # empty: it has said nothing about it
    progress_attempt = models.PositiveIntegerField(default=0)
    gone = models.BooleanField(
        default=False, db_default=False
    )  # its execution was deleted: so are its lines, soon

    class Meta:
        indexes = (models.Index(fields=("execution_id",), name="journal_gone", condition=Q(gone=True)),)

    def __str__(self) -> str:
        return f"{self.execution_id}: {self.lines} lines"


class LogLine(models.Model):
    """One line that a running execution sent. Numbered from 1 without a gap; the oldest are deleted first."""

    pk = models.CompositePrimaryKey("execution_id", "number")
    execution_id = models.UUIDField()
    number = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    level = models.CharField(max_length=7)
    at = models.DateTimeField()  # on the worker's clock
    text = models.TextField()
    fields = RawJSONField(null=True, blank=True)

    def __str__(self) -> str:
        return self.text
