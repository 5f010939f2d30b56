"""`python -m replay`: one shard of the replay service by itself."""

import sys

from replay.role import run_alone
from sojourn.role_arguments import main

if __name__ == "__main__":
    sys.exit(main("replay", run_alone))
