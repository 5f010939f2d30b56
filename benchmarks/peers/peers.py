"""Which programs are measured beside ours, at which of our rows?"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sojourn.bench.speed.figure import PRIORITISED


@dataclass(frozen=True)
class Peer:
    """A program of others.

    who: name, version and how it is used.  program: file in `programs/`.  environment: its packages are those of
    `requirements/<environment>.txt`; "" is ours.  rows: what the program is asked for, by our row.  on: what was on of what is named at our
    rows.  needed: how many times its figure ours must be, by row.  one_core: it gets, whatever threads it has.
    """

    who: str
    program: str
    environment: str
    rows: Mapping[str, str]
    on: tuple[str, ...] = ()
    needed: Mapping[str, float] = field(default_factory=dict)
    one_core: bool = False


def same(*names: str) -> dict[str, str]:
    """Rows that the program calls as we do."""
    return {name: name for name in names}


TOGETHER = {"w1-together": "w1-together", "w1-together-inserted": "w1-together"}
REPLAY = (
    Peer(
        "Reverb 0.14.0",
        "with_reverb.py",
        "reverb",
        {**same("w1-sample", "w1-insert", "w2-sample", "w3-sample"), **TOGETHER},
        on=(PRIORITISED,),
    ),
    Peer(
        "cpprb 11.0.0 behind a Ray actor",
        "with_cpprb_ray.py",
        "cpprb",
        {**same("w1-sample", "w1-insert", "w2-sample"), **TOGETHER},
        on=(PRIORITISED,),
    ),
    Peer("cpprb 11.0.0, in process", "with_cpprb.py", "cpprb", same("w1-sample", "w1-insert", "w2-sample"), on=(PRIORITISED,)),
    Peer(
        "TorchRL 0.14.1, in process",
        "with_torchrl.py",
        "torchrl",
        same("w1-sample", "w1-insert", "w2-sample", "w3-sample"),
        on=(PRIORITISED,),
    ),
    Peer("RLlib 2.60.0, in process, 100,000 steps", "with_rllib.py", "rllib", same("w1-sample", "w1-insert"), on=(PRIORITISED,)),
)
LEARNER = (
    Peer(
        "Stable-Baselines3 2.9.2",
        "with_sb3.py",
        "sb3",
        {"sac-float32": "updates", "sac-bfloat16": "updates"},
        needed={"sac-float32": 1.3, "sac-bfloat16": 1.7},
    ),
    Peer("SBX 0.28.0", "with_sbx.py", "sbx", {"sac-float32": "updates", "sac-bfloat16": "updates"}, one_core=True),
)
ROLLOUT = (
    Peer("Gymnasium 1.4.0, SyncVectorEnv of 8", "with_gymnasium.py", "", {"lockstep": "steps"}, one_core=True),
    Peer("EnvPool 1.2.5, 8 environments", "with_envpool.py", "envpool", {"lockstep": "steps"}, one_core=True),
)
