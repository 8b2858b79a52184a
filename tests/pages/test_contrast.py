"""The colours are computed, not eyeballed: WCAG 2 contrast of every pair that carries text or meaning."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).parents[2] / "static" / "css" / "tokens.css"
OKLCH = re.compile(r"oklch\(([\d.]+)% ([\d.]+) ([\d.]+)\)")
TOKEN = re.compile(r"--([a-z-]+):\s*(light-dark\((oklch\([^)]*\)), (oklch\([^)]*\))\)|var\(--([a-z-]+)\));")

SURFACES = ("card", "ground", "raised")
TEXT = [(ink, surface) for ink in ("ink", "soft") for surface in SURFACES]
TEXT += [("faint", "card"), ("faint", "ground"), ("accent", "card"), ("accent", "ground"), ("danger", "card")]
TEXT += [("on-accent", "accent"), ("on-accent", "accent-hover"), ("on-danger", "danger")]
for _state in ("amber", "red", "violet", "green", "blue"):
    TEXT += [(f"{_state}-ink", "card"), (f"{_state}-ink", "ground"), (f"{_state}-ink", f"{_state}-tint")]
TEXT += [("grey-ink", "grey-tint"), ("ink", "amber-tint"), ("ink", "red-tint"), ("ink", "blue-tint")]
MARKS = [("running", "card"), ("failed", "card"), ("paused", "card"), ("edge", "card"), ("edge", "ground")]
MARKS += [("accent", "ground")]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("ink", "surface"), TEXT)
def test_text_is_readable(theme: str, ink: str, surface: str) -> None:
    assert contrast(theme, ink, surface) >= 4.5


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("mark", "surface"), MARKS)
def test_marks_and_edges_can_be_seen(theme: str, mark: str, surface: str) -> None:
    assert contrast(theme, mark, surface) >= 3


def contrast(theme: str, first: str, second: str) -> float:
    one, two = (luminance(tokens()[name][theme == "dark"]) for name in (first, second))
    return (max(one, two) + 0.05) / (min(one, two) + 0.05)


def tokens() -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name, _, light, dark, alias in TOKEN.findall(TOKENS.read_text()):
        found[name] = found[alias] if alias else (light, dark)
    return found


def luminance(colour: str) -> float:
    match = OKLCH.fullmatch(colour)
    assert match, colour
    lightness, chroma, hue = float(match[1]) / 100, float(match[2]), math.radians(float(match[3]))
    red, green, blue = (min(1.0, max(0.0, part)) for part in linear_rgb(lightness, chroma, hue))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def linear_rgb(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """OKLCH to linear sRGB, with the matrices of https://bottosson.github.io/posts/oklab/."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )


if __name__ == "__main__":
    for pair in (*TEXT, *MARKS):
        print(f"{pair[0]:>14} on {pair[1]:<14} {contrast('light', *pair):5.2f} {contrast('dark', *pair):5.2f}")  # noqa: T201
