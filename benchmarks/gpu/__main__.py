"""`make bench-gpu`: updates of SAC on this machine's GPU, in every way and beside Stable-Baselines3's. Five minutes.

Needs torch, NumPy, safetensors and numba; no network, no set-up, and nothing is written but build/gpu/speed.jsonl, and with `--page` the section
of docs/benchmarks.md. `--device cpu` goes through the same on the processor, to see that it works.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.gpu.ways import scenes
from sojourn.bench.speed.figure import Figure, append
from sojourn.bench.speed.page import number, write
from sojourn.bench.speed.run import measure, rows_of

RESULTS = Path("build/gpu/speed.jsonl")
PAGE = Path("docs/benchmarks.md")


def measured(device: torch.device, rows: list[str], *, quick: bool) -> Iterator[Figure]:
    """All figures; the machine is named with its device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    for figure in measure("gpu", scenes(device), "make bench-gpu", names=rows, quick=quick):
        yield replace(figure, machine=f"{name}, {figure.machine}", version=f"{figure.version}, torch {torch.__version__}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--row", action="append", default=[], help="only this row; may be repeated")
    parser.add_argument("--quick", action="store_true", help="one short turn; nothing is written")
    parser.add_argument("--page", action="store_true", help="write the section of docs/benchmarks.md too")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(asked.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"bench-gpu: torch {torch.__version__} sees no CUDA device here: nothing is measured")
        return
    figures = []
    for figure in measured(device, asked.row, quick=asked.quick):
        print(f"{figure.name:32} {number(figure.median):>12} {figure.unit}{'' if figure.met else '  <- falls short'}", flush=True)
        figures.append(figure)
        if not asked.quick:
            append(RESULTS, figure)
    if asked.page:
        write(PAGE, "gpu", rows_of(scenes(device)), figures)


if __name__ == "__main__":
    main()
