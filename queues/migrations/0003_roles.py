"""The three roles as Django groups. What each may do is decided in `queues/access.py`."""

from __future__ import annotations

from typing import Any

from django.db import migrations

ROLES = ("viewer", "operator", "admin")


def make_groups(apps: Any, schema_editor: Any) -> None:
    groups = apps.get_model("auth", "Group").objects
    for name in ROLES:
        groups.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = (("queues", "0002_storage"), ("auth", "0012_alter_user_first_name_max_length"))
    operations = (migrations.RunPython(make_groups, migrations.RunPython.noop),)
