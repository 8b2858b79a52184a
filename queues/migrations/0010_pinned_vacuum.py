"""Claims stay quick while a transaction somewhere keeps vacuum from removing what died.

Servers of before this must be stopped first: they do not know of the generations.
"""

from __future__ import annotations

from django.db import migrations, models
from django.db.models import F, Q

import queues.models

HELD = Q(status__in=("running", "cancelling"))
EARLY = Q(attempt__gt=0) | Q(place__lt=F("enqueued_at")) | Q(due_at__isnull=False)


class Migration(migrations.Migration):
    dependencies = [("queues", "0009_grants_and_drains")]  # noqa: RUF012

    operations = [  # noqa: RUF012
        migrations.AddField("queue", "slot_generation", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.AddField("execution", "slot_generation", models.PositiveIntegerField(db_default=0, default=0)),
        migrations.RemoveConstraint("execution", "execution_slot"),
        migrations.AddConstraint(
            "execution",
            models.UniqueConstraint(
                fields=("queue", "slot_generation", "slot"), name="execution_slot", condition=HELD
            ),
        ),
        migrations.AddIndex(
            "execution",
            models.Index(
                fields=("queue", "workflow", "place", "id"),
                name="execution_early",
                condition=Q(status="queued") & EARLY,
            ),
        ),
        migrations.CreateModel(
            name="Floor",
            fields=[
                ("id", models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    )),
                ("queue", models.ForeignKey("queues.queue", on_delete=models.CASCADE, db_index=False)),
                ("workflow", models.CharField(max_length=200)),
                ("place", models.DateTimeField()),
                ("candidate", models.DateTimeField()),
                ("candidate_xid", queues.models.XidField()),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("queue", "workflow"), name="floor_of_pair")],
            },
        ),
    ]
