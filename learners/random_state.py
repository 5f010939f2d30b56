"""The state of every random generator that a learner uses, as plain JSON. No I/O, no pickle."""

from typing import Any

import numpy as np
import torch
from torch import Tensor


def capture(generator: torch.Generator) -> dict[str, Any]:
    """States of the algorithm's own generator and of the global ones, which an algorithm from outside may use."""
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state = {
        "algorithm": _hex(generator.get_state()),
        "algorithm_device": generator.device.type,
        "torch": _hex(torch.get_rng_state()),
        "numpy": {
            "kind": kind,
            "keys": [int(key) for key in keys],
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached_gaussian": float(cached).hex(),
        },
    }
    if torch.cuda.is_available():
        state["cuda"] = [_hex(one) for one in torch.cuda.get_rng_state_all()]
    return state


def restore(state: dict[str, Any], generator: torch.Generator) -> bool:
    """Inverse of `capture`. False if the algorithm's generator was of another kind of device: it then goes on from its seed.

    Raises ValueError, KeyError or TypeError for anything that `capture` did not make.
    """
    torch.set_rng_state(_tensor(state["torch"]))
    numpy = state["numpy"]
    keys = np.array(numpy["keys"], np.uint32)
    cached = float.fromhex(numpy["cached_gaussian"])
    np.random.set_state((numpy["kind"], keys, numpy["position"], numpy["has_gauss"], cached))
    if torch.cuda.is_available() and len(state.get("cuda", ())) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([_tensor(one) for one in state["cuda"]])
    if state["algorithm_device"] != generator.device.type:
        return False
    generator.set_state(_tensor(state["algorithm"]))
    return True


def _hex(state: Tensor) -> str:
    return bytes(state.cpu().numpy()).hex()


def _tensor(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
