"""How PostgreSQL keeps the hot tables: vacuum early, leave room for updates in place.

`queues_queue` and `queues_worker` are small and updated often without touching an index: free room on the
page keeps those updates in place (HOT). Every status change of an execution touches an index, so its table
gets no spare room, but is vacuumed after 1 % instead of 20 %: the pick of the next rows walks dead ones.
"""

from __future__ import annotations

from django.db import migrations

FORWARD = """
alter table queues_execution set (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 1
);
alter table queues_queue set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
alter table queues_worker set (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
"""

BACKWARD = """
alter table queues_execution reset (
    autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_insert_scale_factor,
    autovacuum_analyze_scale_factor, autovacuum_vacuum_cost_delay
);
alter table queues_queue reset (fillfactor, autovacuum_vacuum_scale_factor);
alter table queues_worker reset (fillfactor, autovacuum_vacuum_scale_factor);
"""


class Migration(migrations.Migration):
    dependencies = [("queues", "0001_initial")]  # noqa: RUF012

    operations = [migrations.RunSQL(FORWARD, BACKWARD)]  # noqa: RUF012
