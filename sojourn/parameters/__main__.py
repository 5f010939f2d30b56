"""`python -m sojourn.parameters`: the parameter service by itself."""

import sys

from sojourn.parameters.role import run
from sojourn.role_arguments import main

if __name__ == "__main__":
    sys.exit(main("parameters", run))
