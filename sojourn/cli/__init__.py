"""The command line. `main` is the program `sojourn`; each command is a file here.

Importing this package imports no torch, Ray, Gymnasium or plotting: a command imports what it needs when it runs.
"""

import os
import sys

from sojourn.errors import SojournError


def main() -> None:
    """Run the program. A mistake of the user's ends as one message and a code of `sojourn/errors.py`, without a stack trace."""
    from sojourn.cli.app import app

    sys.path.append(os.getcwd())  # `my_module:make` lies beside the user; last, so that it hides no package
    try:
        app()
    except SojournError as error:
        print(f"sojourn: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)  # the reader of our output went away: `sojourn list envs | head`
