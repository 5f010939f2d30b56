"""Which code must be exact, and which fast tests see to it? Data only."""

from dataclasses import dataclass

REPLAY_WEIGHTS = ("weighting", "inclusion", "normaliser", "ess_floor", "survival", "start_summary")
ALGORITHM_TESTS = ("targets", "advantages", "objectives", "sac", "sac_per_second")


@dataclass(frozen=True)
class Part:
    """What mistakes are planted in, and by which tests they are judged.

    files: by path, the functions to plant in, empty: all.  tests: files.  expression: pytest's -k.
    interpreted: kernels run as plain Python.
    """

    files: dict[str, tuple[str, ...]]
    tests: tuple[str, ...]
    expression: str = ""
    interpreted: bool = False


PARTS = {
    "limiter": Part({"replay/limiter.py": ()}, ("tests/replay/test_replay_limiter.py",)),
    "sum_tree": Part(
        {"replay/sum_tree.py": ()},
        ("tests/replay/test_replay_sum_tree.py",),
        "not million_updates",  # minutes without compiled code
        interpreted=True,
    ),
    "dedupe": Part(
        {"replay/fences.py": (), "replay/groups.py": ()},
        tuple(f"tests/replay_service/test_replay_{name}.py" for name in ("fences", "groups")),
    ),
    "targets": Part(
        {
            "sojourn/algorithms/targets.py": (),
            "sojourn/algorithms/advantages.py": (),
            "sojourn/algorithms/objectives.py": (),
            "sojourn/algorithms/sac.py": ("newest", "critic_loss", "actor_loss", "temperature_loss", "soft_value"),
        },
        tuple(f"tests/algorithms/test_{name}.py" for name in ALGORITHM_TESTS),
        "test_targets or test_advantages or test_objectives or by_hand or lesser_critic or temperature_rises or centred or newest_six",
    ),
    "weighting": Part(
        {**{f"replay/{name}.py": () for name in REPLAY_WEIGHTS}, "replay/horizons.py": ("share_left",)},
        (
            *(f"tests/duration/test_replay_{name}.py" for name in ("survival", "inclusion", "start_summary")),
            "tests/replay_client/test_replay_weighting.py",
        ),
        "not shrink",  # 8,000 batches
    ),
    "step_search": Part({"replay/step_search.py": ()}, ("tests/duration/test_replay_survival.py",), interpreted=True),
}
