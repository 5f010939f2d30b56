"""On which step of a curve does each value lie? Compiled: NumPy's search mispredicts every other comparison, and takes five passes.

No I/O, no clock, no randomness. Time is cut into equal cells; a value's cell says between which times to look: nearly always there is
one or none.
"""

import numpy as np

from replay.kernels import kernel
from sojourn.kernels import kernel_of_microseconds


@kernel
def cell_of(value: float, scale: float, last: int) -> int:
    """Number of a value's cell, which never falls as values rise. What is no number is in the last one."""
    place = value * scale
    if place < 0.0:
        return 0
    return int(place) if place < last else last


@kernel
def fill_cells(times: np.ndarray, scale: float, first: np.ndarray) -> None:
    """Count the times float64[M] that lie in lower cells, for each cell and behind the last: first int64[cells + 1], zeros before."""
    for time in times:
        first[cell_of(time, scale, len(first) - 2) + 1] += 1
    for cell in range(1, len(first)):
        first[cell] += first[cell - 1]


@kernel_of_microseconds
def look_up(x: np.ndarray, times: np.ndarray, first: np.ndarray, scale: float, steps: np.ndarray, found: np.ndarray) -> None:
    """Columns of the step that each value lies on, behind all times that are smaller; NaN for what is no number.

    x float64[N].  times float64[M], ascending, with their cells `first`.  steps float64[M + 1, 2] -> found float64[2, N].
    """
    last = len(first) - 2
    for i in range(len(x)):
        if x[i] != x[i]:
            found[0, i] = found[1, i] = np.nan
            continue
        cell = cell_of(x[i], scale, last)
        low, high = first[cell], first[cell + 1]
        while low < high:
            middle = (low + high) // 2
            if times[middle] >= x[i]:
                high = middle
            else:
                low = middle + 1
        found[0, i], found[1, i] = steps[low, 0], steps[low, 1]
