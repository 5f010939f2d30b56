"""Read declared extra columns from what an environment says beside its observation. Pure; no I/O."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from sojourn.columns import Scope
from sojourn.config.schema import EnvironmentSettings, ExtraColumn
from sojourn.errors import EnvironmentFault
from sojourn.experience import Columns


def read_extras(settings: EnvironmentSettings, info: Mapping[str, Any], scope: Scope | None = None) -> Columns:
    """Declared columns of one step, by name, without a batch axis.

    info: what `step` returned last, or `reset` for columns of scope "episode".  scope: read only these columns; None reads all.
    A fixed column has its declared shape; a ragged one is [0..ragged_max]. A key that `info` lacks gives the declared default
    (no elements, if ragged). Raises EnvironmentFault for a value that does not fit its declaration.
    """
    return {extra.name: _read(extra, info) for extra in settings.extras if scope in (None, extra.scope)}


def _read(extra: ExtraColumn, info: Mapping[str, Any]) -> np.ndarray:
    key = extra.info_key or extra.name
    if key not in info:
        shape = (0,) if extra.ragged_max else extra.shape
        return np.full(shape, extra.default, dtype=extra.dtype)
    try:
        value = np.asarray(info[key]).astype(extra.dtype)
    except (TypeError, ValueError) as error:
        raise EnvironmentFault(f"info[{key!r}] is no {extra.dtype}: {error}") from error
    if extra.ragged_max:
        if value.ndim != 1 or len(value) > extra.ragged_max:
            raise EnvironmentFault(f"info[{key!r}] has shape {value.shape}, declared ragged with at most {extra.ragged_max}")
    elif value.shape != extra.shape:
        raise EnvironmentFault(f"info[{key!r}] has shape {value.shape}, declared {extra.shape}")
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise EnvironmentFault(f"info[{key!r}] holds NaN or infinity: {value}")
    return value
