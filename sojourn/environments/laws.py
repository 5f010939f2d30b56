"""How long simulated actions last: laws of a positive duration with a given mean, and the clock that spends it.

`Law` draws from the generator it is handed; `Clock` either sleeps (real) or only says so in `info["duration_s"]` (simulated).
"""

import math
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Name = Literal["constant", "exponential", "lognormal", "pareto", "bimodal"]


@dataclass(frozen=True)
class Law:
    """Durations whose mean is 1, to be multiplied by a mean in seconds.

    spread: standard deviation of the logarithm (lognormal), tail exponent > 1 (pareto), ratio of slow to fast > 1 (bimodal);
    unused by the others.  slow_share: share of slow actions (bimodal).
    """

    name: Name = "constant"
    spread: float = 1.0
    slow_share: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in ("constant", "exponential", "lognormal", "pareto", "bimodal"):
            raise ValueError(f"unknown duration law {self.name!r}; known: constant, exponential, lognormal, pareto, bimodal")
        if self.name in ("pareto", "bimodal") and self.spread <= 1:
            raise ValueError(f"{self.name} needs spread > 1, got {self.spread}")

    def draw(self, rng: np.random.Generator) -> float:
        """One duration, > 0, with mean 1."""
        match self.name:
            case "exponential":
                return float(rng.exponential())
            case "lognormal":
                return math.exp(self.spread * rng.standard_normal() - 0.5 * self.spread**2)
            case "pareto":
                return float((1.0 + rng.pareto(self.spread)) * (self.spread - 1.0) / self.spread)
            case "bimodal":
                fast = 1.0 / (1.0 - self.slow_share + self.slow_share * self.spread)
                return fast * (self.spread if rng.random() < self.slow_share else 1.0)
        return 1.0


@dataclass(frozen=True)
class Clock:
    """Where simulated time goes.

    kind: "real" sleeps, "simulated" does not; both report `duration_s`.  seconds_per_unit: scale of all durations.
    """

    kind: Literal["real", "simulated"] = "simulated"
    seconds_per_unit: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("real", "simulated"):
            raise ValueError(f"clock must be real or simulated, got {self.kind!r}")
        if not self.seconds_per_unit > 0:
            raise ValueError(f"seconds_per_unit must be positive, got {self.seconds_per_unit}")

    def spend(self, units: float) -> dict[str, Any]:
        """Let the time pass and return what `info` says about it."""
        duration_s = units * self.seconds_per_unit
        if self.kind == "real":
            time.sleep(duration_s)
        return {"duration_s": duration_s}
