"""The row of `sojourn bench replay` that says what the weight `inclusion` costs: `sojourn bench duration-price`, of one rule.

Blocks for a minute; starts and ends what it needs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from replay.client import LearnerConnection
from sojourn.bench import price
from sojourn.bench.row import Size
from sojourn.bench.speed.figure import INCLUSION, PRIORITISED, Row
from sojourn.bench.speed.run import Scene, Work

BARE, WEIGHTED = "none", "one"


@dataclass(frozen=True)
class Pair:
    """Learners of two tables that differ in the weight alone, and what sampling takes of processors."""

    bare: LearnerConnection
    weighted: LearnerConnection
    spending: price.Spending
    size: Size

    def cost(self) -> float:
        """Processor time with the weight over that without it."""
        bare_s, weighted_s = price.in_turn(
            self.spending, self.bare, self.weighted, self.size.of(price.SLICES, 1), self.size.of(price.SLICE, 50)
        )
        return weighted_s / bare_s


@contextmanager
def paired(size: Size) -> Iterator[Pair]:
    """A service with both tables, filled; what is done once has been done."""
    with price.serving((BARE, WEIGHTED)) as (world, service_pid):
        price.fill(world)
        bare, weighted = (world.learner(name, price.BATCH, ahead=price.AHEAD) for name in (BARE, WEIGHTED))
        pair = Pair(bare, weighted, price.Spending(service_pid), size)
        pair.cost()
        yield pair


COST = Scene(
    paired,
    (
        Work(
            (
                Row(
                    name="inclusion",
                    what="processor time of a sample with the weight inclusion over that without it",
                    unit="x",
                    target=price.MOST,
                    higher=False,
                    on=(PRIORITISED, INCLUSION),
                ),
            ),
            lambda pair: (pair.cost(),),
        ),
    ),
)
