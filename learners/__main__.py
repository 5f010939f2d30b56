"""`python -m learners`: a learner by itself."""

import sys

from learners.role import run
from sojourn.role_arguments import main

if __name__ == "__main__":
    sys.exit(main("learner", run))
