"""Which environments come with Sojourn, and what an unknown id may have meant. Touches Gymnasium's registry only."""

import difflib
import warnings

import gymnasium as gym

OURS = {
    "sojourn/ActionRepeat-v0": "sojourn.environments.slow:make_action_repeat",
    "sojourn/Arms-v0": "sojourn.environments.arms:Arms",
    "sojourn/Catch-v0": "sojourn.environments.catch:Catch",
    "sojourn/Match-v0": "sojourn.environments.match:Match",
    "sojourn/SlowSteps-v0": "sojourn.environments.slow:make_slow_steps",
    "sojourn/TaskPools-v0": "sojourn.environments.arms:TaskPools",
}


def register() -> None:
    """Register our ids with Gymnasium. Calling it again changes nothing.

    Gymnasium's remark that an id is out of date is not repeated by every process of every actor. (The filter stays: putting it
    back, as `warnings.catch_warnings` does, would undo what other threads have set meanwhile.)
    """
    warnings.filterwarnings("ignore", r".*is out of date\. You should consider upgrading", DeprecationWarning)
    for name, entry_point in OURS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=entry_point)


def near_ids(name: str) -> list[str]:
    """Up to three registered ids that look like `name`, best first, newest version of each."""
    newest: dict[str, str] = {}
    for spec in sorted(gym.registry.values(), key=lambda spec: spec.version or 0):
        newest[_stem(spec.id)] = spec.id
    by_lower = {stem.lower(): registered for stem, registered in newest.items()}
    return [by_lower[stem] for stem in difflib.get_close_matches(_stem(name).lower(), by_lower, n=3)]


def _stem(name: str) -> str:
    """An id without its version: "HalfCheetah-v5" is "HalfCheetah"."""
    head, separator, version = name.rpartition("-v")
    return head if separator and version.isdigit() else name
