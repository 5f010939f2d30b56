"""How is a row measured? Scenes are opened one after the other; all that is measured on one takes its turn, five times over.

So figures that are compared are of the same minutes of the machine. Blocks for as long as that takes.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

from sojourn.bench.measured import here
from sojourn.bench.row import Size
from sojourn.bench.speed.figure import US, Figure, Row
from sojourn.errors import ConfigError

TURNS = 5
QUICK_TURNS = 1
T = TypeVar("T")


@dataclass(frozen=True)
class Work(Generic[T]):
    """What one turn on a scene measures. turn: blocks; a value for each row, in their order.  who: measured, `US` or a peer."""

    rows: tuple[Row, ...]
    turn: Callable[[T], Sequence[float]]
    who: str = US


@dataclass(frozen=True)
class Scene(Generic[T]):
    """What several works share: services that run and are filled. opened: starts it; nothing of it is left at its end."""

    opened: Callable[[Size], AbstractContextManager[T]]
    works: tuple[Work[T], ...]

    def only(self, names: Collection[str]) -> "Scene[T]":
        """With those works alone that measure one of these rows."""
        return Scene(self.opened, tuple(work for work in self.works if any(row.name in names for row in work.rows)))


def rows_of(scenes: Sequence[Scene[Any]]) -> dict[str, Row]:
    """All rows by name."""
    return {row.name: row for scene in scenes for work in scene.works for row in work.rows}


def measure(
    bench: str, scenes: Sequence[Scene[Any]], command: str, *, names: Collection[str] = (), quick: bool = False
) -> Iterator[Figure]:
    """The figures of all rows, or of those with these names, scene by scene. Raises ConfigError for an unknown name."""
    rows = rows_of(scenes)
    if unknown := [name for name in names if name not in rows]:
        raise ConfigError(f"unknown row {unknown[0]!r}; there are {', '.join(rows)}")
    for scene in [scene.only(names) if names else scene for scene in scenes]:
        if scene.works:
            yield from _measured(bench, scene, command, quick)


def _measured(bench: str, scene: Scene[T], command: str, quick: bool) -> Iterator[Figure]:
    with scene.opened(Size(quick)) as opened:
        turns = [[tuple(work.turn(opened)) for work in scene.works] for _ in range(QUICK_TURNS if quick else TURNS)]
    for work, found in zip(scene.works, zip(*turns, strict=True), strict=True):
        for row, values in zip(work.rows, zip(*found, strict=True), strict=True):
            known: dict[str, Any] = {**asdict(row), **here(command)}
            yield Figure(**known, bench=bench, who=work.who, values=values)
