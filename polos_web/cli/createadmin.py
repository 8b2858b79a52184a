from __future__ import annotations

import argparse

from ..problems import Problem
from .database import opened

HELP = "make an account that may do everything, and print its one-time sign-in link"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("username")


def run(options: argparse.Namespace) -> None:
    with opened():
        from django.core.exceptions import ValidationError

        from .. import people

        try:
            user = people.make_checked_admin(options.username)
        except ValidationError as error:
            raise Problem(" ".join(error.messages)) from None
        link = people.link_for(user, created_by="command line")
    print(f"Account {user} made. It signs in once, within 24 hours, and then sets a password, at\n\n  {link}\n")
