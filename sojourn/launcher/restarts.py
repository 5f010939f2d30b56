"""When does a role that ended get another life, how soon, and when is it hopeless? Pure; the clock is handed in.

Two ways to die. A role that *raises* says why, and the launcher decides with `decide`. A *process* that dies (kill -9, a crash in
native code) is started again by Ray itself; there the new life looks at how the old ones fared, with `Lives`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sojourn.errors import ConfigError, HungError, SojournError

WINDOW_S = 60.0
MOST_REFUSALS = 3  # of our own errors within the window: the same sentence would come for ever
MOST_CRASHES = 6  # of anything else within the window
FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 5.0

YOUNG_S = 10.0  # a life shorter than this counts towards a crash loop
MOST_YOUNG_DEATHS = 12


class CrashLoopError(SojournError):
    """A role's process dies again and again."""


HOPELESS = (ConfigError, CrashLoopError)  # what no further try can change


@dataclass(frozen=True)
class Failure:
    """A role raised.  at_s: monotonic clock."""

    error: BaseException
    at_s: float


@dataclass(frozen=True)
class Restart:
    """Give the role a new process after so many seconds."""

    after_s: float


@dataclass(frozen=True)
class GiveUp:
    """End the run with this error."""

    error: SojournError


def decide(name: str, failures: Sequence[Failure], log_file: str, now_s: float) -> Restart | GiveUp:
    """What to do about a role whose latest failure is the last of `failures`, oldest first."""
    latest = failures[-1].error
    recent = [failure for failure in failures if now_s - failure.at_s < WINDOW_S]
    again = Restart(wait_s(len(recent)))
    if isinstance(latest, HungError):
        return again  # an environment hung: each such life lasted for at least a step's time limit
    if isinstance(latest, SojournError):
        refused = isinstance(latest, HOPELESS) or len(recent) >= MOST_REFUSALS
        return GiveUp(_named(name, latest)) if refused else again
    if len(recent) >= MOST_CRASHES:
        return GiveUp(
            CrashLoopError(f"{name} failed {len(recent)} times in {WINDOW_S:g} s, last with {latest!r}; see {log_file}")
        )
    return again


def wait_s(failures: int) -> float:
    """Back-off before the next life: none after the first failure, then doubled each time up to LONGEST_WAIT_S."""
    return 0.0 if failures <= 1 else min(FIRST_WAIT_S * 2.0 ** (failures - 2), LONGEST_WAIT_S)


def _named(name: str, error: SojournError) -> SojournError:
    """The same kind of error, with the role's name in front."""
    return type(error)(f"{name}: {error}")


@dataclass(frozen=True)
class Lives:
    """How a role's processes have fared, written down by each life for the next.

    young_deaths: lives in a row that ended without a word within YOUNG_S.  began_s: when the latest began, in Unix time.
    """

    young_deaths: int = 0
    began_s: float = 0.0

    def next(self, now_s: float) -> "Lives":
        """A new life begins because the one before ended without a word."""
        young = self.began_s > 0 and now_s - self.began_s < YOUNG_S + wait_s(self.young_deaths)
        return Lives(self.young_deaths + 1 if young else 0, now_s)

    def wait_s(self, name: str, log_file: str) -> float:
        """Seconds to wait before this life begins its work. Raises CrashLoopError when there were too many."""
        if self.young_deaths >= MOST_YOUNG_DEATHS:
            raise CrashLoopError(
                f"the process of {name} died {self.young_deaths} times in a row, each within {YOUNG_S:g} s; see {log_file}"
            )
        return wait_s(self.young_deaths)
