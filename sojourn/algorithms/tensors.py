"""Named tensors as bytes, and what distinguishes two sets of them. safetensors: no pickle. No I/O."""

from collections.abc import Mapping

import safetensors
import safetensors.torch
from torch import Tensor

from sojourn.errors import ContractError


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Named tensors of any device as safetensors bytes."""
    return bytes(safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def from_bytes(content: bytes) -> dict[str, Tensor]:
    """Inverse of `to_bytes`, on the CPU. Raises ContractError for anything else."""
    try:
        return dict(safetensors.torch.load(content))
    except safetensors.SafetensorError as error:
        raise ContractError(f"these {len(content)} bytes are no safetensors: {error}") from error


def differences(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """What distinguishes tensors from those expected, in words; empty if names and shapes agree."""
    missing = [f"{name} is missing" for name in expected if name not in found]
    surplus = [f"{name} is not known here" for name in found if name not in expected]
    shapes = [
        f"{name} is {list(found[name].shape)} there and {list(tensor.shape)} here"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return shapes + missing + surplus
