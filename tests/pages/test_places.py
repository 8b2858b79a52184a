"""The navigation marks the place that a page belongs to, also on the pages of acts."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from .conftest import make_execution, make_queue, make_worker, running


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("/", "Queues"),
        ("/queues/mail", "Queues"),
        ("/drains/mail", "Queues"),
        ("/purges/mail", "Queues"),
        ("/history/mail", "Queues"),
        ("/executions/{id}", "Executions"),
        ("/executions/{id}/rerun", "Executions"),
        ("/bulk", "Executions"),
        ("/schedules/new", "Schedules"),
    ],
)
def test_the_place_of_a_page_is_marked(jonas: Client, address: str, place: str) -> None:
    execution = make_execution(make_queue("mail"))
    html = jonas.get(address.format(id=execution.id)).content.decode()
    assert re.findall(r'aria-current="(?:page|true)">(\w+)</a>', html.split("</nav>")[0]) == [place]


def test_what_a_worker_runs_does_not_take_the_id_of_the_changes_that_wait(jonas: Client) -> None:
    worker = make_worker(queue=(queue := make_queue("mail")))
    running(queue, worker, 1)
    html = jonas.get(f"/workers/{worker.id}").content.decode()
    assert html.count('id="held"') == 1 and 'id="runs-now"' in html
