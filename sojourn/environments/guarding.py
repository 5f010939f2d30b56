"""How does an environment's own code fail? As one EnvironmentFault in a sentence, whatever it raised.

Runs what it is handed, which may block for as long as it likes.
"""

from collections.abc import Callable
from typing import TypeVar

from sojourn.errors import EnvironmentFault, SojournError
from sojourn.plugins import told

Result = TypeVar("Result")


def guarded(call: Callable[[], Result], what: str) -> Result:
    """Call the environment; whatever it raises becomes EnvironmentFault, unless it is an error of ours already."""
    try:
        return call()
    except SojournError:
        raise
    except (Exception, SystemExit) as error:  # an environment may raise anything: its slot ends, not the actor
        raise EnvironmentFault(f"{what} raised {told(error)}") from error
