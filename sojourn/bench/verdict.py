"""Does what was measured agree with what is known? Replicates in, a verdict out. Pure.

A number passes if its mean over independent replicates lies within 4.3 standard errors of the exact value, and the standard error is at
most a tenth of what the wrong value is away: a test that could not tell the two apart proves nothing. (4.3 standard errors of ten
replicates: 0.2 % of sound measurements lie outside, by Student's t with 9 degrees of freedom.)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

REPLICATES = 10
STANDARD_ERRORS = 4.3
POWER = 10.0
TOLERANCE = 1e-6  # where all replicates agree


@dataclass(frozen=True)
class Claim:
    """A number that a row measures.

    exact: what theory says; None: there is no formula, it is only printed.  naive: what a wrong rule would give; None: nothing to tell
    apart.  tolerance: of numbers without chance, that is, where all replicates agree or `chance` is False.
    """

    name: str
    exact: float | None = None
    naive: float | None = None
    tolerance: float = TOLERANCE
    chance: bool = True


@dataclass(frozen=True)
class Verdict:
    """A claim beside its measurement. standard_error: of the mean over the replicates."""

    claim: Claim
    mean: float
    standard_error: float
    replicates: int

    @property
    def agrees(self) -> bool:
        """Whether the mean is where it should be, and the measurement could have told."""
        exact, naive, error = self.claim.exact, self.claim.naive, self.standard_error
        if exact is None:
            return True
        if error == 0.0 or not self.claim.chance:
            return abs(self.mean - exact) <= self.claim.tolerance
        sharp = naive is None or error <= abs(naive - exact) / POWER
        return sharp and abs(self.mean - exact) <= STANDARD_ERRORS * error


def judge(claims: Sequence[Claim], replicates: Sequence[Mapping[str, float]]) -> list[Verdict]:
    """One verdict a claim. replicates: the measured numbers by the claims' names, from independent seeds."""
    return [_verdict(claim, [replicate[claim.name] for replicate in replicates]) for claim in claims]


def _verdict(claim: Claim, values: Sequence[float]) -> Verdict:
    mean = math.fsum(values) / len(values)
    if all(value == values[0] for value in values):
        return Verdict(claim, values[0], 0.0, len(values))
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return Verdict(claim, mean, math.sqrt(variance / len(values)), len(values))
