"""`python -m sojourn.cli` is `sojourn`."""

from sojourn.cli import main

main()
