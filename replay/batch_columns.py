"""Which columns does a batch of a table have, and from which bytes of which rows does each come? Pure; decided once per table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from replay.layout import (
    DURATION_WORD,
    LOG_PROB_FLOAT,
    NUMBER_WORD,
    REWARD_FLOAT,
    START_WORD,
    STRATUM_BYTE,
    VERSION_WORD,
    Place,
    RowLayout,
)
from replay.rows import TERMINATED, TRUNCATED
from replay.rules import columns_of
from sojourn.columns import Column, Schema
from sojourn.config.schema import TableSettings

# What an output column holds of an item of m steps, padded to L.
FIRST, STEPS = 0, 1  # bytes of row 0; of rows 0 .. m - 1
FRAMES_FIRST, FRAMES_LAST, FRAMES_ALL = 2, 3, 4  # stacked observation of row 0; of row m; of rows 0 .. m
LISTS_FIRST, LISTS_STEPS = 5, 6  # lists of row 0; of every step; zero behind the last element
LENGTHS_FIRST, LENGTHS_STEPS, STEP_COUNT = 7, 8, 9  # their lengths; the item's steps m
DURATION_SUM, DELAY, AGE, START_AGE = 10, 11, 12, 13  # START_AGE: of row 0 when it was drawable
ELAPSED, LAG = 14, 15  # from the episode's start to the end of step m - 1; versions that the item was behind when it came
MASK, END_KIND, ENDED_STEPS, ENDED_LAST = 16, 17, 18, 19  # of every step; ENDED_LAST: a flag of step m - 1


@dataclass(frozen=True)
class Output:
    """One column of a batch: `what` of the row's bytes [offset, offset + width), as dtype and shape per item.

    width: bytes of one row's value (of one frame, of a whole padded list).
    detail: the flag of ENDED_*, the element bytes of LISTS_*.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    what: int
    offset: int = 0
    width: int = 0
    detail: int = 0

    @property
    def item_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def batch_columns(schema: Schema, layout: RowLayout, length: int, settings: TableSettings) -> list[Output]:
    """Columns of a table whose items have `length` steps: facts of a draw, then those of `sojourn.experience.Batch`."""
    columns = _transition_columns if settings.item == "transition" else _sequence_columns
    known = {output.name: output for output in _rule_columns(layout)}
    of_rule = [known[f"info.{name}"] for name in columns_of(settings)]
    return [*_fact_columns(), *of_rule, *columns(schema, layout, length)]


def _fact_columns() -> list[Output]:
    return [
        Output("info.key", "uint64", (), FIRST, 8 * NUMBER_WORD, 8),
        Output("info.policy_version", "int64", (), FIRST, 8 * VERSION_WORD, 8),
        Output("info.delay_s", "float64", (), DELAY),
        Output("info.age_s", "float64", (), AGE),
        Output("info.duration_s", "float64", (), DURATION_SUM),
    ]


def _rule_columns(layout: RowLayout) -> list[Output]:
    """What weights need to know of an item, by rule (replay/rules.py)."""
    return [
        Output("info.stratum", "uint16", (), FIRST, STRATUM_BYTE, 2),
        Output("info.start_s", "float64", (), FIRST, 8 * START_WORD, 8),
        Output("info.start_age_s", "float64", (), START_AGE),
        Output("info.episode_elapsed_s", "float64", (), ELAPSED, 8 * layout.episode_start_word),
        Output("info.lag", "int64", (), LAG),
    ]


def _transition_columns(schema: Schema, layout: RowLayout, length: int) -> list[Output]:
    """Columns of `Batch` for n-step items, n = length."""
    observation, action, extras, _ = _by_kind(schema, layout)
    k = layout.frame_stack
    outputs = [_frames(place, FRAMES_FIRST, k, ()) for place in observation]
    outputs += [_frames(place, FRAMES_LAST, k, (), "next_") for place in observation]
    outputs += [_fixed(place, FIRST, ()) for place in action]
    outputs += _per_step(length)
    outputs += [
        Output("length", "int32", (), STEP_COUNT),
        Output("terminated", "bool", (), ENDED_LAST, detail=TERMINATED),
        Output("truncated", "bool", (), ENDED_LAST, detail=TRUNCATED),
        Output("log_prob", "float32", (), FIRST, 4 * LOG_PROB_FLOAT, 4),
        Output("policy_version", "int64", (), FIRST, 8 * VERSION_WORD, 8),
    ]
    return outputs + [output for place in extras for output in _extra(place, length)]


def _sequence_columns(schema: Schema, layout: RowLayout, length: int) -> list[Output]:
    """Columns of `Batch` for sequences and segments, L = length."""
    observation, action, extras, core_state = _by_kind(schema, layout)
    outputs = [_frames(place, FRAMES_ALL, layout.frame_stack, (length + 1,)) for place in observation]
    outputs += [_fixed(place, STEPS, (length,)) for place in action]
    outputs += _per_step(length)
    outputs += [
        Output("length", "int32", (), STEP_COUNT),
        Output("terminated", "bool", (length,), ENDED_STEPS, detail=TERMINATED),
        Output("truncated", "bool", (length,), ENDED_STEPS, detail=TRUNCATED),
        Output("end_kind", "uint8", (length,), END_KIND),
        Output("log_prob", "float32", (length,), STEPS, 4 * LOG_PROB_FLOAT, 4),
        Output("policy_version", "int64", (length,), STEPS, 8 * VERSION_WORD, 8),
    ]
    outputs += [_fixed(place, FIRST, ()) for place in core_state]
    return outputs + [output for place in extras for output in _extra(place, length)]


def _per_step(length: int) -> list[Output]:
    return [
        Output("reward", "float32", (length,), STEPS, 4 * REWARD_FLOAT, 4),
        Output("duration_s", "float64", (length,), STEPS, 8 * DURATION_WORD, 8),
        Output("mask", "bool", (length,), MASK),
    ]


def _by_kind(schema: Schema, layout: RowLayout) -> tuple[list[Place], list[Place], list[Place], list[Place]]:
    """Places of observation, action, extras and core state columns, in the schema's order."""
    places = {place.column.name: place for place in layout.places}
    groups: tuple[Sequence[Column], ...] = (
        schema.observation_columns(),
        schema.action_columns(),
        schema.extras,
        schema.core_state,
    )
    observation, action, extras, core_state = ([places[column.name] for column in group] for group in groups)
    return observation, action, extras, core_state


def _frames(place: Place, what: int, k: int, lead: tuple[int, ...], prefix: str = "") -> Output:
    column = place.column
    stacked = (*lead, k, *column.shape) if k > 1 else (*lead, *column.shape)
    return Output(prefix + column.name, column.dtype, stacked, what, place.offset, column.row_bytes)


def _fixed(place: Place, what: int, lead: tuple[int, ...]) -> Output:
    column = place.column
    return Output(column.name, column.dtype, (*lead, *column.shape), what, place.offset, column.row_bytes)


def _extra(place: Place, length: int) -> list[Output]:
    """An extra's output: one value an item if it is per episode, one a step otherwise; ragged ones bring their lengths."""
    column = place.column
    lead = () if column.scope == "episode" else (length,)
    if not column.ragged_max:
        return [_fixed(place, STEPS if lead else FIRST, lead)]
    values, lengths = (LISTS_STEPS, LENGTHS_STEPS) if lead else (LISTS_FIRST, LENGTHS_FIRST)
    width = column.row_bytes
    return [
        Output(column.name, column.dtype, (*lead, column.ragged_max), values, place.offset, width, place.element_bytes),
        Output(f"{column.name}.length", "int32", lead, lengths, place.offset),
    ]
