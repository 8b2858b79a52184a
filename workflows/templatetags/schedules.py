"""What pages of executions say about schedules."""

from __future__ import annotations

from uuid import UUID

from django import template

from workflows.models import Tick

register = template.Library()


@register.simple_tag
def tick_of(execution_id: UUID) -> Tick | None:
    """{% tick_of execution.id as tick %}: what started an execution, if a schedule did."""
    return Tick.objects.select_related("schedule").filter(execution_id=execution_id).first()
