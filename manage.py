#!/usr/bin/env python
"""Django's own commands, on the database of the settings; the embedded PostgreSQL is there while one runs."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "polos_web.settings")


def main() -> None:
    from polos_web import embedded

    with embedded.running_for_settings():
        execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
