"""What must experience from files be, so that a run can begin with it? The source's promise, checks, and pieces. No network, no clock."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from replay.arrow import stored_columns
from sojourn.columns import Schema
from sojourn.errors import ConfigError
from sojourn.experience import Segment

SEGMENT_BYTES = 64 << 10


class InitialSource(Protocol):
    """Experience in files. fingerprint: another one is other experience.  lacks_durations: every action counts as the same time then."""

    fingerprint: str
    lacks_durations: bool

    def check(self, schema: Schema) -> None:
        """Raise ConfigError, in one sentence, if a run of this schema cannot begin with it."""

    def segments(self, schema: Schema, assumed_duration_s: float) -> Iterator[Segment]:
        """All of it, always in the same order and the same pieces. Starts are times of a clock that stands at 0 now."""


def pieces(whole: Segment, schema: Schema) -> Iterator[Segment]:
    """A segment in pieces of about SEGMENT_BYTES; the last one closes if the whole does."""
    most = max(1, SEGMENT_BYTES // max(1, sum(column.row_bytes for column in stored_columns(schema))))
    for at in range(0, max(1, len(whole)), most):
        stop = min(len(whole), at + most)
        piece = slice(at, stop)
        yield Segment(
            lane=whole.lane,
            first_sequence=whole.first_sequence + at,
            episode=whole.episode,
            observation={name: leaf[at : stop + 1] for name, leaf in whole.observation.items()},
            action={name: leaf[piece] for name, leaf in whole.action.items()},
            reward=whole.reward[piece],
            terminated=whole.terminated[piece],
            truncated=whole.truncated[piece],
            duration_s=whole.duration_s[piece],
            started_at_s=whole.started_at_s[piece],
            end_kind=whole.end_kind[piece],
            log_prob=whole.log_prob[piece],
            policy_version=whole.policy_version[piece],
            closed=whole.closed and stop == len(whole),
            extras={name: leaf[piece] for name, leaf in whole.extras.items()},
            core_state={name: leaf[piece] for name, leaf in whole.core_state.items()},
        )


def check_spaces(name: str, schema: Schema, observation: dict[str, Any], action: dict[str, Any]) -> None:
    for what, ours, theirs in (("observation", schema.observation, observation), ("action", schema.action, action)):
        if ours != theirs:
            raise ConfigError(f"replay.initial: the {what} space of {name} is {_shown(theirs)}, and this run's is {_shown(ours)}")


def _shown(space: dict[str, Any]) -> str:
    text = " ".join(f"{key}={value}" for key, value in space.items() if key != "type")
    return f"{space['type']}({text if len(text) <= 200 else text[:200] + ' ...'})"


def fingerprint_of(files: list[Path]) -> str:
    """Of names and sizes: what was exported is not edited in place."""
    told = "\n".join(f"{file.name} {file.stat().st_size}" for file in files)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
