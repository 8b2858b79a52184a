from __future__ import annotations

import argparse

from ..problems import Problem
from .database import opened

HELP = "print a one-time sign-in link, for the admin or for another account"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("username", nargs="?", default="admin", help="default: admin")


def run(options: argparse.Namespace) -> None:
    with opened():
        from django.contrib.auth.models import User

        from .. import people

        people.ensure_first_admin()
        user = User.objects.filter(username=options.username, is_active=True).first()
        if user is None:
            raise Problem(f"There is no active account {options.username}. polos-server createadmin makes one.")
        link = people.link_for(user, created_by="command line")
    print(f"{user} signs in once, within 24 hours, at\n\n  {link}\n")
