"""Pins what the direct dependencies bring along, from what uv resolves: `python .ci/lock.py [--upgrade]`.

Writes two places, neither with an address: `constraint-dependencies` in pyproject.toml, which uv reads, and
requirements.lock, which pip reads. pip refuses `-e .` beside hashes, so there they are comments; CONTRIBUTING.md
says how to make pip check them.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYPROJECT, LOCK = ROOT / "pyproject.toml", ROOT / "requirements.lock"
BLOCK = re.compile(r"(?<=^constraint-dependencies = \[\n).*?(?=^\]$)", re.MULTILINE | re.DOTALL)
HEADER = """\
# Everything that `pip install -r requirements.lock -e .` installs. Made by `make lock`.
# pip refuses `-e .` beside hashes, so they are comments here. To have them checked:
#   sed 's/# --hash/--hash/' requirements.lock > hashed.txt
#   pip install --require-hashes -r hashed.txt && pip install --no-deps -e .
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that fit")
    if parser.parse_args().upgrade:
        write_constraints([])
        subprocess.run(["uv", "lock", "--upgrade"], cwd=ROOT, check=True)
    direct = direct_names()
    write_constraints([pin for pin in export("--no-hashes").splitlines() if name_of(pin) not in direct])
    LOCK.write_text(HEADER + export().replace("    --hash=", "    # --hash="))


def export(*options: str) -> str:
    command = ["uv", "export", "--quiet", "--no-emit-project", "--no-header", "--no-annotate", *options]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def direct_names() -> set[str]:
    project = tomllib.loads(PYPROJECT.read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    return {name_of(requirement) for requirement in wanted}


def name_of(requirement: str) -> str:
    return re.split(r"[\[=<>; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def write_constraints(pins: list[str]) -> None:
    lines = "".join(f'    "{pin.strip()}",\n' for pin in pins)
    PYPROJECT.write_text(BLOCK.sub(lambda _: lines, PYPROJECT.read_text(), count=1))


if __name__ == "__main__":
    main()
