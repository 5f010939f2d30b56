"""Whose items were lost? Classes of actors (pool and speed class), and whether one loses more than another. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from sojourn.diagnosis.gap import FEWEST, SMALL, STANDARD_ERRORS
from sojourn.monitor import DurationRecord


@dataclass(frozen=True)
class ClassFate:
    """Items of one class of actors.

    came: made, or turned away because they came too late.  lost, undrawn: shares of them that left, or never entered, for another
    reason than a draw, and that did so before they had ever been drawn.
    """

    name: str
    came: float
    lost: float
    undrawn: float


def class_fates(record: DurationRecord) -> Sequence[ClassFate]:
    """Of every class that anything came from."""
    return [
        ClassFate(_name(one["pool"], one["speed_class"]), one["came"], one["lost"] / one["came"], one["undrawn"] / one["came"])
        for one in record.classes
        if one["came"] > 0.0
    ]


def _name(pool: str, speed_class: str) -> str:
    return " ".join(part for part in (pool, speed_class) if part) or "(no class)"


def unequal(fates: Sequence[ClassFate]) -> tuple[ClassFate, ClassFate] | None:
    """The classes that lose most and least undrawn, if that is more than chance and of consequence."""
    known = [fate for fate in fates if fate.came >= FEWEST]
    if len(known) < 2:
        return None
    most, least = max(known, key=lambda fate: fate.undrawn), min(known, key=lambda fate: fate.undrawn)
    share = (most.undrawn * most.came + least.undrawn * least.came) / (most.came + least.came)
    error = (share * (1.0 - share) * (1.0 / most.came + 1.0 / least.came)) ** 0.5
    gap = most.undrawn - least.undrawn
    return (most, least) if gap > max(SMALL, STANDARD_ERRORS * error) else None
