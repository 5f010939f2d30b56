"""What to set so that a biased run becomes an unbiased one? Best first. Pure."""

from sojourn.config import Config
from sojourn.diagnosis.evidence import Evidence
from sojourn.diagnosis.regime import Regime

RESTARTS = (
    "look for restarts of roles in `sojourn status`: a service that comes back counts anew, and a new launch clears the counts"
)


def changes_for(config: Config, regime: Regime, evidence: Evidence) -> tuple[str, ...]:
    """Settings, each with why. At least one."""
    name = config.learners.table
    if any(shares.before.matters for shares in evidence.laws.values()):
        return _lost_on_the_way(f"tables.{name}", config, regime)
    if any(shares.after.matters for shares in evidence.laws.values()):
        return _made_by_weights(f"tables.{name}", config)
    return (
        f"tables.{name}.duration.weight=linear if actors keep an action for a fixed time; otherwise make sure that the environment "
        "performs the action that it is given",
    )


def _made_by_weights(table: str, config: Config) -> tuple[str, ...]:
    """Collection is clean, and weighting is not."""
    duration = config.tables[config.learners.table].duration
    if duration.weight == "inclusion" and duration.rule != "auto":
        return (f"{table}.duration.rule=auto: nothing is lost, and rule {duration.rule} weighs as if something were",)
    objective = ", unless the average over time instead of decisions is what you want" if duration.weight == "linear" else ""
    return (f"{table}.duration.weight=inclusion, which is 1 where nothing is lost; {duration.weight} makes this bias{objective}",)


def _lost_on_the_way(table: str, config: Config, regime: Regime) -> tuple[str, ...]:
    duration = config.tables[config.learners.table].duration
    changes = [regime.keep] if regime.keep else []
    rule = "" if regime.rule == duration.rule else f" {table}.duration.rule={regime.rule}"
    if regime.loses and regime.rule and (duration.weight != "inclusion" or rule):
        changes.append(
            f"{table}.duration.weight=inclusion{rule}{_of_one_step(table, config, regime)}: weighs back what is lost, as far as some "
            "of it arrives"
        )
    elif regime.name == "staleness drop":
        changes.append(f"{table}.max_staleness higher: no weight brings back what takes longer than it and one version more")
    if config.learners.ess_floor > 0.0:
        changes.append("learners.ess_floor=0: the floor takes back a part of the weights")
    if not regime.loses:
        changes.append(RESTARTS)
    return tuple(changes)


def _of_one_step(table: str, config: Config, regime: Regime) -> str:
    """What else is to be set where the rule weighs items of one step."""
    settings = config.tables[config.learners.table]
    if regime.rule == "auto" or settings.most_steps == 1:
        return ""
    return f" {table}.{'n_step' if settings.item == 'transition' else 'length'}=1"
