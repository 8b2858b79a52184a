"""What keeps the pages safe and small is checked in their sources."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import django_htmx
import pytest
from django.test import Client

from .conftest import make_queue

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
BUDGET = 45 * 1024


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_templates_have_no_inline_code_and_no_way_around_escaping(template: Path) -> None:
    source = template.read_text()
    assert not re.search(r"<script(?![^>]* src=)", source), "inline script"
    assert not re.search(r"\son\w+=|hx-on|\sstyle=|<style|javascript:|hx-vals=.js", source, re.IGNORECASE)
    assert not re.search(r"\|\s*safe\b|autoescape off|safeseq", source)


def test_python_of_the_pages_marks_only_literals_as_safe() -> None:
    for path in (ROOT / "queues").rglob("*.py"):
        source = path.read_text()
        assert "mark_safe" not in source, path
        assert not re.search(r"SafeString\((?!\")", source.replace("SafeString()", "")), path


def test_scripts_never_evaluate_text() -> None:
    for path in (ROOT / "static" / "js").glob("*.js"):
        assert not re.search(r"\beval\(|new Function|insertAdjacentHTML|document\.write", path.read_text()), path


def test_css_and_js_of_the_list_fit_the_budget(vera: Client) -> None:
    make_queue()
    html = vera.get("/").content.decode()
    styles = [ROOT / "static" / name for name in re.findall(r'href="/static/(css/[^"]+)"', html)]
    scripts = sorted((ROOT / "static" / "js").glob("*.js"))
    htmx = Path(django_htmx.__file__).parent / "static" / "django_htmx" / "htmx-2.min.js"
    assert styles
    total = sum(len(gzip.compress(path.read_bytes())) for path in (*styles, *scripts, htmx))
    assert total <= BUDGET, total


def test_pages_are_sent_with_a_strict_policy(vera: Client) -> None:
    policy = vera.get("/").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_live_parts_have_ids(vera: Client) -> None:
    make_queue()
    for page in ("/", "/queues/api-calls"):
        html = vera.get(page).content.decode()
        for tag in re.findall(r"<[^>]*\sdata-(?:live|cell)[^>]*>", html):
            assert ' id="' in tag, tag
        ids = re.findall(r'\sid="([^"]+)"', html)
        assert len(ids) == len(set(ids))


def test_the_icon_is_found_where_browsers_look_for_it(client: Client) -> None:
    assert client.get("/favicon.ico").headers["Location"] == "/static/img/icon.svg"
