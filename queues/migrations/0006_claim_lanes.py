"""A worker's last claim becomes its last claim on each of two lanes; what was noted is lane 0's."""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models

import queues.models

FORWARD = """
alter table queues_worker
    alter claim_seq type bigint[] using array[claim_seq, 0],
    alter claim_token type uuid[] using array[claim_token, null],
    alter claim_at type timestamptz[] using array[claim_at, null]
"""
BACKWARD = """
alter table queues_worker
    alter claim_seq type bigint using claim_seq[1],
    alter claim_token type uuid using claim_token[1],
    alter claim_at type timestamptz using claim_at[1]
"""


def array(**options: Any) -> ArrayField[Any, Any]:
    return ArrayField(size=2, **options)


class Migration(migrations.Migration):
    dependencies = [("queues", "0005_favourites")]  # noqa: RUF012

    operations = [  # noqa: RUF012
        migrations.RunSQL(
            FORWARD,
            BACKWARD,
            state_operations=[
                migrations.AlterField(
                    "worker", "claim_at", array(base_field=models.DateTimeField(null=True), blank=True, null=True)
                ),
                migrations.AlterField(
                    "worker",
                    "claim_seq",
                    array(base_field=models.BigIntegerField(), default=queues.models.no_claims),
                ),
                migrations.AlterField(
                    "worker", "claim_token", array(base_field=models.UUIDField(null=True), blank=True, null=True)
                ),
            ],
        )
    ]
