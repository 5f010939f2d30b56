"""`python -m actors`: an actor by itself; with `--evaluate` the evaluator."""

import sys

from actors.evaluation import run as evaluate
from actors.role import run
from sojourn.role_arguments import main

if __name__ == "__main__":
    sys.exit(main("actor", run, evaluate=evaluate))
