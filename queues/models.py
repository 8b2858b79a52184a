"""What is stored: queues with their limits, executions, workers, keys, and every change of a limit.

The engine writes these tables with the statements in `queues/sql/`; the models are for migrations,
the admin and reads. Invariants live here as constraints, so that no code path can break them.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Cast, Collate

if TYPE_CHECKING:
    from django.contrib.auth.models import Group, User

    _TextField = models.TextField[str | None, str | None]
    _BigIntegerField = models.BigIntegerField[int, int]
else:
    _TextField = models.TextField
    _BigIntegerField = models.BigIntegerField


class RawJSONField(_TextField):
    """JSON kept exactly as it was sent (`json`, not `jsonb`): checked at the door, never parsed again."""

    def db_type(self, connection: Any) -> str:
        return "json"


class Queue(models.Model):
    """A named line with a limit. Limit and pause are columns of the one row that a claim locks."""

    name = models.CharField(max_length=200, unique=True)
    declared_limit = models.PositiveIntegerField(null=True, blank=True)  # empty = unlimited
    declared_by = models.CharField(max_length=300, blank=True, default="")  # worker or client, and place in code
    declared_at = models.DateTimeField(null=True, blank=True)

    overridden = models.BooleanField(default=False)
    override_limit = models.PositiveIntegerField(null=True, blank=True)  # empty while overridden = unlimited
    override_reason = models.CharField(max_length=500, blank=True, default="")
    override_by = models.CharField(max_length=150, blank=True, default="")
    override_at = models.DateTimeField(null=True, blank=True)
    override_until = models.DateTimeField(null=True, blank=True)

    effective_limit = models.GeneratedField(
        expression=models.Case(models.When(overridden=True, then="override_limit"), default="declared_limit"),
        output_field=models.PositiveIntegerField(null=True),
        db_persist=True,
    )

    paused = models.BooleanField(default=False)
    paused_reason = models.CharField(max_length=500, blank=True, default="")
    paused_by = models.CharField(max_length=150, blank=True, default="")
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True)

    # Refuses what is new, finishes what is there. Defaults of the database, for servers that do not know them yet.
    draining = models.BooleanField(default=False, db_default=False)
    drain_reason = models.CharField(max_length=500, blank=True, default="", db_default="")
    drain_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    drain_at = models.DateTimeField(null=True, blank=True)

    version = models.PositiveBigIntegerField(default=1)  # +1 with every change of limit or pause
    slot_generation = models.PositiveIntegerField(default=0, db_default=0)  # that of everything held here
    timed = models.BooleanField(default=False, db_default=False)  # executions may have a timeout as a whole
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = (
            models.CheckConstraint(
                name="queue_override_limit_only_while_overridden",
                condition=Q(overridden=True) | Q(override_limit__isnull=True, override_until__isnull=True),
            ),
            models.CheckConstraint(
                name="queue_pause_is_dated", condition=Q(paused=False) | Q(paused_at__isnull=False)
            ),
            models.CheckConstraint(
                name="queue_drain_is_dated", condition=Q(draining=False) | Q(drain_at__isnull=False)
            ),
        )
        # Every server asks once a second which queues drain: as a rule there is none.
        indexes = (models.Index(fields=("id",), name="queue_draining", condition=Q(draining=True)),)

    def __str__(self) -> str:
        return self.name


class Declaration(models.Model):
    """What one worker (by its name, not its process) last declared for a queue."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="declarations")
    worker_name = models.CharField(max_length=200)
    limit = models.PositiveIntegerField(null=True, blank=True)
    place = models.CharField(max_length=300, blank=True, default="")  # file:line
    changed_at = models.DateTimeField()  # when this worker's declaration last changed
    seen_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("queue", "worker_name"), name="declaration_one_per_worker"),
        )

    def __str__(self) -> str:
        return f"{self.worker_name}: {self.limit}"


class Change(models.Model):
    """One act on a queue (limit, pause, schedule, …): who, when, from, to, why, through what. Never edited."""

    class Kind(models.TextChoices):
        DECLARED = "declared", "declared limit"
        OVERRIDE = "override", "override"
        PAUSE = "pause", "pause"
        SCHEDULE = "schedule", "schedule"
        DRAIN = "drain", "drain"
        PURGE = "purge", "purge"
        SLOT = "slot", "release of a slot"
        WORKER = "worker", "worker"
        ANSWER = "answer", "answer"
        CANCEL = "cancel", "cancellation"
        RETRY = "retry", "retry"
        PRIORITY = "priority", "priority"
        RERUN = "rerun", "run again"

    class Through(models.TextChoices):
        PAGE = "page", "page"
        ADMIN = "admin", "admin"
        REST = "rest", "REST"
        COMMAND = "command", "command line"
        WORKER = "worker", "worker"
        SERVER = "server", "server"

    # About one execution (`subject` is its id), or about many (`subject` is the id of the bulk act).
    OF_EXECUTIONS = (Kind.CANCEL, Kind.RETRY, Kind.PRIORITY, Kind.RERUN)

    # Empty: about a worker, which may serve many queues.
    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="changes", null=True, blank=True)
    at = models.DateTimeField()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    subject = models.CharField(
        max_length=200, blank=True, default="", db_default=""
    )  # the schedule; else the queue
    before = models.CharField(max_length=40)  # "5", "unlimited", "none", "paused", "running"
    after = models.CharField(max_length=40)
    actor = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True, default="")
    through = models.CharField(max_length=10, choices=Through.choices)
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-at", "-id")
        indexes = (models.Index(fields=("queue", "-at"), name="change_by_queue"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.before} → {self.after}"


def no_claims() -> list[int]:
    return [0, 0]


class Worker(models.Model):
    """A worker process and its lease: what holds slots is alive until `lease_until`, not longer."""

    class State(models.TextChoices):
        ALIVE = "alive", "alive"
        DRAINING = "draining", "draining"
        LEFT = "left", "left"
        LOST = "lost", "lost"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    host = models.CharField(max_length=200, blank=True, default="")
    pid = models.IntegerField(null=True, blank=True)
    sdk_version = models.CharField(max_length=50, blank=True, default="")
    max_concurrent = models.IntegerField(default=100)
    state = models.CharField(max_length=10, choices=State.choices, default=State.ALIVE)
    key_name = models.CharField(max_length=100, blank=True, default="")  # API key used, empty in local mode
    registered_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    lease_until = models.DateTimeField()
    left_at = models.DateTimeField(null=True, blank=True)
    drain_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    drain_reason = models.CharField(max_length=500, blank=True, default="", db_default="")
    drain_at = models.DateTimeField(null=True, blank=True)
    # The last claim that was handed out on each of two lanes, so that a repeated exchange returns it again.
    claim_seq = ArrayField(models.BigIntegerField(), size=2, default=no_claims)
    claim_token = ArrayField(models.UUIDField(null=True), size=2, null=True, blank=True)
    claim_at = ArrayField(models.DateTimeField(null=True), size=2, null=True, blank=True)
    generation = models.IntegerField(default=0, db_default=0)  # of the row: see `begin_claims`

    class Meta:
        ordering = ("-registered_at",)
        # Every claim renews the lease: no index has anything in it that changes then.
        indexes = (
            models.Index(fields=("id",), name="worker_living", condition=Q(state__in=("alive", "draining"))),
            # Of the id as text, which no other index has: with the primary key a claim walks all generations, and
            # that is what it is planned with when that index happens to be the lower one.
            models.Index(Collate(Cast("id", models.TextField()), "C"), "generation", name="worker_newest"),
        )

    def __str__(self) -> str:
        return self.name


class Registration(models.Model):
    """A (queue, workflow) pair that a worker serves. It gets nothing else."""

    # Added by the thousand when work waits on thousands of queues: half of that was checking foreign keys. What
    # they point to is deleted with them, or never (a queue). The constraint and the index below begin with both.
    worker = models.ForeignKey(
        Worker, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="registrations"
    )
    queue = models.ForeignKey(
        Queue, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="registrations"
    )
    workflow = models.CharField(max_length=200)
    # It did not ask for it: the queue was chosen at invocation, and nobody else serves the workflow on it.
    adopted = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("worker", "queue", "workflow"), name="registration_once"),)
        indexes = (models.Index(fields=("queue", "workflow"), name="registration_by_pair"),)

    def __str__(self) -> str:
        return self.workflow


class Status(models.TextChoices):
    SCHEDULED = "scheduled", "scheduled"
    QUEUED = "queued", "queued"
    RUNNING = "running", "running"
    CANCELLING = "cancelling", "cancelling"
    WAITING = "waiting", "waiting"
    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"
    CANCELLED = "cancelled", "cancelled"


HELD = (Status.RUNNING, Status.CANCELLING)  # holds a slot
FINAL = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)


class Execution(models.Model):
    """One run of a workflow: the hot table.

    Every index costs a write per status change, so there are few, and all but the key are partial. The
    row holds its last claim; earlier ones are copied to `Holding` when the next one begins. No foreign
    keys: a check per row costs more than the insert, and queues are never deleted while they hold work. No check
    constraints, and so no `PositiveIntegerField`, which brings one: PostgreSQL reads and plans them anew in each
    statement, an eighth of a small exchange. What holds for every row is in `sql/contradictions.sql`, and the
    tests of the engine look at it after each of them.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)  # UUIDv7: ordered by time
    queue = models.ForeignKey(
        Queue, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="executions"
    )
    workflow = models.CharField(max_length=200)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    place = models.DateTimeField()  # enqueue time − priority seconds; never changes but by a retry by hand
    priority = models.IntegerField(default=0)  # seconds of head start, −1,000,000 to 1,000,000
    enqueued_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True, blank=True)  # scheduled: not before

    payload = RawJSONField(null=True, blank=True)
    result = RawJSONField(null=True, blank=True)
    error = RawJSONField(null=True, blank=True)  # {"type", "message", "traceback"?, "reason"?}

    attempt = models.IntegerField(default=0)  # tries begun
    max_attempts = models.IntegerField(default=1)
    losses = models.IntegerField(default=0)  # tries that ended with their worker

    # the last claim
    worker_id = models.UUIDField(null=True, blank=True)
    slot = models.IntegerField(null=True, blank=True)  # from 1; empty on an unlimited queue
    slot_generation = models.IntegerField(default=0, db_default=0)  # of the queue, while held
    token = models.UUIDField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    released_at = models.DateTimeField(null=True, blank=True)  # when that claim ended
    outcome = models.CharField(
        max_length=10, blank=True, default=""
    )  # of that claim: completed, failed, lost, released, …

    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_by = models.CharField(max_length=200, blank=True, default="")  # who asked to cancel

    parent_id = models.UUIDField(null=True, blank=True)
    root_id = models.UUIDField(null=True, blank=True)
    # How many of the claims went on after a wait: those are no tries. Empty: none.
    resumes = models.IntegerField(null=True, blank=True)
    idempotency_key = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001

    class Meta:
        constraints = (
            # The backstop of promise 1: a slot has one holder. Empty slots (unlimited) never collide, so the
            # same index counts and lists what runs on every queue. All that a queue holds is of its generation
            # (`renew_slots`), so that slots are still compared with all others.
            models.UniqueConstraint(
                fields=("queue", "slot_generation", "slot"), name="execution_slot", condition=Q(status__in=HELD)
            ),
            models.UniqueConstraint(
                fields=("workflow", "idempotency_key"),
                name="execution_idempotency",
                condition=Q(idempotency_key__isnull=False),
            ),
        )
        indexes = (
            models.Index(
                fields=("queue", "workflow", "place", "id"), name="execution_ready", condition=Q(status="queued")
            ),
            # What is queued and was not added just then: came back to its place, was due later, has priority.
            models.Index(
                fields=("queue", "workflow", "place", "id"),
                name="execution_early",
                condition=Q(status="queued")
                & (Q(attempt__gt=0) | Q(place__lt=models.F("enqueued_at")) | Q(due_at__isnull=False)),
            ),
            models.Index(fields=("due_at",), name="execution_due", condition=Q(status="scheduled")),
            models.Index(
                fields=("queue", "finished_at"), name="execution_finished", condition=Q(finished_at__isnull=False)
            ),
            models.Index(fields=("parent_id",), name="execution_parent", condition=Q(parent_id__isnull=False)),
            models.Index(fields=("queue", "id"), name="execution_waiting", condition=Q(status="waiting")),
        )

    def __str__(self) -> str:
        return str(self.id)

    @property
    def tries(self) -> int:
        """How often it was begun from the top: a claim that goes on after a wait is none."""
        return self.attempt - (self.resumes or 0)

    @property
    def max_tries(self) -> int:
        return self.max_attempts - (self.resumes or 0)


class Wait(models.Model):
    """What an execution waits for, or has waited for: a time, other executions, an event, a person.

    Declared under a key; declaring the key again keeps what is stored. The execution goes on as soon as one of the
    waits of its last claim is over.
    """

    class Kind(models.TextChoices):
        TIME = "time", "a time"
        EXECUTIONS = "executions", "executions"
        EVENT = "event", "an event"
        RESUME = "resume", "a person"

    execution_id = models.UUIDField()
    key = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    token = models.UUIDField()  # of the claim that declared it last
    since = (
        models.DateTimeField()
    )  # when it began: at most so long before it was declared first as the worker said
    until = models.DateTimeField(
        null=True, blank=True
    )  # time: when it is over; else the time-out, if there is one

    executions = ArrayField(models.UUIDField(), null=True, blank=True)  # over when all of them are final
    seen = models.PositiveIntegerField(default=0)  # so many of them, from the first, are known to be final
    strangers = models.BooleanField(
        null=True, blank=True
    )  # not all of them are children; empty: not looked at yet
    topic = models.CharField(max_length=200, null=True, blank=True)  # noqa: DJ001
    note = RawJSONField(null=True, blank=True)  # resume: what the person who answers is shown

    over_at = models.DateTimeField(null=True, blank=True)
    timed_out = models.BooleanField(default=False)
    event_id = models.UUIDField(null=True, blank=True)  # that ended it
    answer = RawJSONField(null=True, blank=True)  # of a person
    answered_by = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("execution_id", "key"), name="wait_once"),)
        indexes = (
            models.Index(
                fields=("until",), name="wait_due", condition=Q(over_at__isnull=True, until__isnull=False)
            ),
            models.Index(fields=("topic",), name="wait_topic", condition=Q(over_at__isnull=True, kind="event")),
            models.Index(fields=("event_id",), name="wait_event", condition=Q(event_id__isnull=False)),
            models.Index(fields=("id",), name="wait_strangers", condition=Q(over_at__isnull=True, strangers=True)),
            GinIndex(
                fields=("executions",), name="wait_of_strangers", condition=Q(over_at__isnull=True, strangers=True)
            ),
        )

    def __str__(self) -> str:
        return f"{self.execution_id} {self.key}"


class Event(models.Model):
    """What was published on a topic. Every wait on the topic that began before gets it."""

    id = models.UUIDField(primary_key=True, editable=False)
    topic = models.CharField(max_length=200)
    payload = RawJSONField()
    published_at = models.DateTimeField()
    published_by = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        ordering = ("-published_at", "-id")
        indexes = (
            models.Index(fields=("topic", "published_at", "id"), name="event_by_topic"),
            models.Index(fields=("published_at", "id"), name="event_by_time"),
        )

    def __str__(self) -> str:
        return self.topic


class XidField(_BigIntegerField):
    """The number of a transaction, in PostgreSQL's own type: only it knows how to compare them."""

    def db_type(self, connection: Any) -> str:
        return "xid8"


class Floor(models.Model):
    """From which place on a claim looks for queued executions of a workflow on a queue: see `raise_floors`."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, db_index=False)
    workflow = models.CharField(max_length=200)
    place = models.DateTimeField()
    candidate = models.DateTimeField()  # the next place, once what began before `candidate_xid` has ended
    candidate_xid = XidField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("queue", "workflow"), name="floor_of_pair"),)

    def __str__(self) -> str:
        return f"{self.workflow} from {self.place}"


class Deadline(models.Model):
    """When an execution ends that has not started (kind queue) or not finished (kind execution) by then.

    Few have any, so these are not columns of the hot table.
    """

    class Kind(models.TextChoices):
        QUEUE = "queue", "queue timeout"
        EXECUTION = "execution", "execution timeout"

    pk = models.CompositePrimaryKey("execution_id", "kind")
    execution_id = models.UUIDField()
    kind = models.CharField(max_length=10, choices=Kind.choices)
    seconds = models.FloatField()  # from when it may start, and again from a retry by hand
    at = models.DateTimeField(null=True, blank=True)  # empty: it has had its effect, or cannot have any more

    class Meta:
        indexes = (models.Index(fields=("at",), name="deadline_at", condition=Q(at__isnull=False)),)

    def __str__(self) -> str:
        return f"{self.execution_id} {self.kind}"


class Deduplication(models.Model):
    """The key of an execution of which there is to be one at a time: see `engine/dedup.py`."""

    execution_id = models.UUIDField(primary_key=True, editable=False)
    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    workflow = models.CharField(max_length=200)
    key = models.CharField(max_length=200)
    holds = models.BooleanField()  # of those with the same key the last one; the others are final, or stopping
    after = models.UUIDField(null=True, blank=True)  # it waits until this execution has stopped

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("queue", "workflow", "key"), name="deduplication_holder", condition=Q(holds=True)
            ),
        )
        indexes = (models.Index(fields=("after",), name="deduplication_after", condition=Q(after__isnull=False)),)

    def __str__(self) -> str:
        return f"{self.workflow} {self.key}"


class Holding(models.Model):
    """An earlier claim of an execution: what held which slot, from when to when, and how it ended."""

    execution_id = models.UUIDField()
    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, db_constraint=False, db_index=False)
    attempt = models.PositiveIntegerField()
    worker_id = models.UUIDField()
    slot = models.PositiveIntegerField(null=True, blank=True)
    claimed_at = models.DateTimeField()
    released_at = models.DateTimeField()
    outcome = models.CharField(max_length=10)
    error = RawJSONField(null=True, blank=True)

    class Meta:
        indexes = (
            models.Index(fields=("execution_id",), name="holding_by_execution"),
            models.Index(fields=("queue", "released_at"), name="holding_by_queue"),
            models.Index(fields=("worker_id",), name="holding_lost", condition=Q(outcome="lost")),
        )

    def __str__(self) -> str:
        return f"{self.execution_id} attempt {self.attempt}"


class Rerun(models.Model):
    """An execution that runs another one again."""

    execution_id = models.UUIDField(primary_key=True)
    of = models.UUIDField()
    edited = models.BooleanField()  # with another payload

    class Meta:
        indexes = (models.Index(fields=("of",), name="rerun_of"),)

    def __str__(self) -> str:
        return f"{self.execution_id} of {self.of}"


class BulkAct(models.Model):
    """One act on many executions, in the background: what was asked, how far it is, what became of it.

    `below` is the place in the ids, which only falls, and moves in the transaction that acts: so each execution is
    acted on at most once, whoever goes on and whenever the one before was killed.
    """

    class Verb(models.TextChoices):
        CANCEL = "cancel", "cancel"
        RETRY = "retry", "retry"
        PRIORITY = "priority", "change priority"
        PURGE = "purge", "purge"

    class State(models.TextChoices):
        WAITING = "waiting", "waiting"
        RUNNING = "running", "running"
        DONE = "done", "done"
        STOPPED = "stopped", "stopped"

    id = models.UUIDField(primary_key=True)
    verb = models.CharField(max_length=10, choices=Verb.choices)
    priority = models.IntegerField(null=True, blank=True)
    search = models.CharField(max_length=500, blank=True, default="")  # a search line; empty = everything
    of_chosen = models.BooleanField(default=False)
    chosen = ArrayField(models.UUIDField(), null=True, blank=True)  # instead of a search, highest first
    patterns = ArrayField(
        models.CharField(max_length=200), null=True, blank=True
    )  # of queues; empty = every queue
    counted = models.PositiveIntegerField()  # when it was asked
    counted_all = models.BooleanField(default=True)  # or there are more

    asked_at = models.DateTimeField()  # what was enqueued after this is left alone
    actor = models.CharField(max_length=200)
    through = models.CharField(max_length=10, choices=Change.Through.choices)
    reason = models.CharField(max_length=500, blank=True, default="")

    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    below = models.UUIDField(null=True, blank=True)  # empty: not begun
    back_to = models.DateTimeField(null=True, blank=True)  # when the last one looked at was enqueued
    changed = models.PositiveIntegerField(default=0)
    left = models.PositiveIntegerField(default=0)  # looked at, and not possible any more
    by_queue = models.JSONField(default=dict)  # id of a queue → how many of `changed`
    began_at = models.DateTimeField(null=True, blank=True)
    worked_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    stopped_by = models.CharField(max_length=200, blank=True, default="")
    stop_reason = models.CharField(max_length=300, blank=True, default="", db_default="")

    class Meta:
        ordering = ("-asked_at",)
        indexes = (
            models.Index(
                fields=("worked_at",), name="bulk_act_open", condition=Q(state__in=("waiting", "running"))
            ),
            models.Index(fields=("-asked_at",), name="bulk_act_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.verb} {self.search}"

    @property
    def is_open(self) -> bool:
        return self.state in (self.State.WAITING, self.State.RUNNING)


class BulkLeft(models.Model):
    """An execution that a bulk act met and could not act on, and why."""

    act = models.ForeignKey(BulkAct, on_delete=models.CASCADE, related_name="lefts")
    execution_id = models.UUIDField()
    why = models.CharField(max_length=300)

    def __str__(self) -> str:
        return f"{self.execution_id}: {self.why}"


class Rollup(models.Model):
    """What up to 32 queues (those with the same `id / 32`) did in a stretch of time: figures, by their number.

    A figure of a queue is `1024 * (id % 32) + figure`, with the figures of `queues/rollup.py`. Zeros are left out,
    and so are rows without a figure. Many queues share a row because a row's header and index entry cost more than
    the figures of a quiet queue; for its sake, too, single times need no count.
    """

    pk = models.CompositePrimaryKey("seconds", "start", "shard")
    seconds = models.SmallIntegerField()  # how long the stretch is: 10, 60 or 3,600
    start = models.BigIntegerField()  # seconds since 1970
    shard = models.IntegerField()
    cells = ArrayField(models.SmallIntegerField())
    counts = ArrayField(models.IntegerField())  # one for each cell
    once = ArrayField(models.SmallIntegerField(), default=list)  # cells of histograms that count one

    def __str__(self) -> str:
        return f"{self.seconds} s from {self.start}"


class RollupStretch(models.Model):
    """A stretch of time that was rolled up as it passed. Between two of them there are no data: a gap."""

    since = models.BigIntegerField(primary_key=True)  # seconds since 1970
    until = models.BigIntegerField()  # exclusive

    class Meta:
        ordering = ("since",)

    def __str__(self) -> str:
        return f"{self.since} to {self.until}"


class ApiKey(models.Model):
    """A key for workers and clients. Only a hash of its secret is stored; it is shown once."""

    class Scope(models.TextChoices):
        FULL = "full", "everything that keys can do"
        ENQUEUE = "enqueue", "enqueue and read only"
        WORK = "work", "work only"

    id = models.CharField(primary_key=True, max_length=16, editable=False)
    name = models.CharField(max_length=100, unique=True)
    secret_hash = models.CharField(max_length=64, editable=False)  # SHA-256: the secret is 256 random bits
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.FULL)
    queue_patterns = models.JSONField(default=list, blank=True)  # ["billing/*"]; empty = every queue
    demo = models.BooleanField(default=False, editable=False)  # the demo's own: does not end local mode
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.name


class Favourite(models.Model):
    """A queue that a person keeps at hand."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    queue = models.ForeignKey(Queue, on_delete=models.CASCADE)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "queue"), name="favourite_once"),)

    def __str__(self) -> str:
        return f"{self.queue} of {self.user}"


class Grant(models.Model):
    """What a person, or a team (a group), may do to the queues that a pattern names, beside the role."""

    class Level(models.TextChoices):
        SEE = "see", "see"
        OPERATE = "operate", "operate"
        TUNE = "tune", "tune"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True)
    group = models.ForeignKey("auth.Group", on_delete=models.CASCADE, null=True, blank=True, verbose_name="team")
    pattern = models.CharField(max_length=200)  # "billing/*"
    level = models.CharField(max_length=10, choices=Level.choices)
    granted_by = models.CharField(max_length=150, editable=False)
    granted_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("pattern",)
        constraints = (
            models.CheckConstraint(
                name="grant_to_a_person_or_a_team",
                condition=Q(user__isnull=False, group__isnull=True) | Q(user__isnull=True, group__isnull=False),
            ),
            models.UniqueConstraint(fields=("user", "pattern"), name="grant_once_to_a_person"),
            models.UniqueConstraint(fields=("group", "pattern"), name="grant_once_to_a_team"),
        )

    def __str__(self) -> str:
        return f"{self.level} {self.pattern}"

    @property
    def to(self) -> User | Group:
        to = self.user or self.group
        if to is None:
            raise ValueError("a grant to nobody: the database does not let this be")
        return to


class PersonChange(models.Model):
    """One change of what a person or a team may do: who, about whom, from, to, through what. Never edited."""

    class Kind(models.TextChoices):
        INVITATION = "invitation", "invitation"
        LINK = "link", "one-time link"
        ROLE = "role", "role"
        TEAM = "team", "team"
        GRANT = "grant", "grant"
        ACCOUNT = "account", "account"

    at = models.DateTimeField(auto_now_add=True)
    about = models.CharField(max_length=160)  # a name, kept when the person goes; "team payments"
    kind = models.CharField(max_length=10, choices=Kind.choices)
    subject = models.CharField(max_length=200, blank=True, default="")  # a pattern, a team
    before = models.CharField(max_length=40, blank=True, default="")
    after = models.CharField(max_length=40, blank=True, default="")
    actor = models.CharField(max_length=150)
    through = models.CharField(max_length=10, choices=Change.Through.choices)

    class Meta:
        ordering = ("-at", "-id")

    def __str__(self) -> str:
        return f"{self.about}: {self.kind} {self.before} → {self.after}"


class SignInLink(models.Model):
    """A one-time link that signs a person in and lets them set a password. Only a hash is stored."""

    token_hash = models.CharField(primary_key=True, max_length=64)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    created_by = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"for {self.user}"
