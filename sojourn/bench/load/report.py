"""What came of a load, and how it is told. No I/O."""

from dataclasses import dataclass

from sojourn.bench.load.acknowledgements import Latency
from sojourn.bench.load.ledger import Verdict

MIB = 1 << 20


@dataclass(frozen=True)
class LoadReport:
    """A load over real services.

    steps_per_s: acknowledged, while the actors inserted.  verdict: None at level `memory`, where only counters tell.
    miscounted: accepted steps that the services count beyond those acknowledged or short of them, 0 when both agree.
    service_bytes, redis_bytes: the largest that were seen.  slopes: bytes a minute of both after the ring was full, None if it never was;
    later_slopes: of the later half of that time.
    """

    actors: int
    lives: int
    seconds: float
    steps_per_s: float
    latency: Latency
    service_bytes: int
    redis_bytes: int
    slopes: tuple[float, float] | None
    later_slopes: tuple[float, float] | None
    batches: int
    duplicates: int
    gaps: int
    verdict: Verdict | None
    miscounted: int
    faults: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Nothing was lost or doubled, and everybody ended well."""
        return not self.faults and not self.miscounted and (self.verdict is None or self.verdict.clean)

    def lines(self) -> list[str]:
        """For a person."""
        ack = self.latency
        told = [
            f"actors            {self.actors}, {self.lives} lives, {self.seconds:.1f} s",
            f"acknowledged      {self.steps_per_s:,.0f} steps/s",
            f"acknowledgement   p50 {_ms(ack.p50_s)}  p99 {_ms(ack.p99_s)}  p99.9 {_ms(ack.p999_s)}  longest {_ms(ack.longest_s)}",
            f"batches drawn     {self.batches}",
            f"memory            services {self.service_bytes / MIB:,.0f} MiB, Redis {self.redis_bytes / MIB:,.0f} MiB, at most",
        ]
        for name, slopes in (("slope, ring full", self.slopes), ("slope, later half", self.later_slopes)):
            if slopes is not None:
                services, redis = (slope / MIB for slope in slopes)
                told.append(f"{name:17} services {services:+.2f} MiB/min, Redis {redis:+.2f} MiB/min")
        told.append(f"resent            {self.duplicates} duplicates recognised, {self.gaps} gaps")
        if self.verdict is not None:
            v = self.verdict
            told.append(
                f"ledger            {v.offered:,} steps offered, {v.acknowledged:,} acknowledged, {v.refused:,} refused, {v.held:,} held: "
                f"{v.lost} lost, {v.doubled} doubled, {v.strange} strange"
            )
        told.append(f"counters          {'agree' if not self.miscounted else f'differ by {self.miscounted:+,} steps'}")
        return [*told, *(f"FAULT             {fault}" for fault in self.faults)]


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:,.1f} ms"
