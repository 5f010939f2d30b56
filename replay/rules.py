"""Which law does the weight by inclusion correct? Decided by a table's configuration, never by estimate where there is an exact one.

Pure. The exact weight of each rule is in docs/duration.md; this says what an item must carry for it and what the start log adds.
"""

from dataclasses import dataclass

from sojourn.config.schema import TableSettings


@dataclass(frozen=True)
class Rule:
    """How a table loses actions.

    name: "one" where it loses none.  horizon: the rule's parameter in seconds or versions, 0 where it has none.
    columns: what an item carries in a draw, as `info.<name>`.  estimated: whether the service's start log is part of the weight.
    """

    name: str
    horizon: float = 0.0
    columns: tuple[str, ...] = ()
    estimated: bool = False


def rule_of(settings: TableSettings) -> Rule:
    """The rule in force."""
    match settings.duration.rule:
        case "one":
            return Rule("one")
        case "window" | "censoring" as named:
            return Rule(named, columns=("stratum",), estimated=True)
        case "episode_window":
            return Rule("episode_window", columns=("stratum", "episode_elapsed_s"), estimated=True)
        case "start_rate":
            return Rule("start_rate", columns=("stratum", "start_s"), estimated=True)
        case _:
            return _by_loss(settings)


def _by_loss(settings: TableSettings) -> Rule:
    """What follows from how items leave: the ring loses nothing, since each item stays for equally many insertions."""
    if settings.horizon_s is not None:
        return Rule("start_age", settings.horizon_s, ("start_age_s",))
    if settings.horizon_versions is not None:
        return Rule("version_age", float(settings.horizon_versions), ("lag",))
    if settings.max_staleness is not None and settings.on_stale == "drop":
        return Rule("staleness", float(settings.max_staleness), ("start_age_s",), estimated=True)
    return Rule("one")


def columns_of(settings: TableSettings) -> tuple[str, ...]:
    """Info columns that the table's draws carry beside the usual ones: for its rule, and the stratum for weights by pool.

    They come whatever the weight, so that learners with different weights can draw from one service.
    """
    columns = rule_of(settings).columns
    by_pool = settings.duration.weight == "pool" and "stratum" not in columns
    return (*columns, "stratum") if by_pool else columns


def reads_start_log(settings: TableSettings) -> bool:
    """Whether the services' start logs are part of the table's facts."""
    return settings.duration.weight == "pool" or rule_of(settings).estimated
