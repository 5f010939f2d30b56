"""SimBa's body against the paper's figure written with torch's own layers, and critics of a width of their own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from sojourn.config.algorithms import NetworkSettings
from sojourn.errors import ConfigError
from sojourn.networks import build_body
from sojourn.networks.layers import EnsembleLayerNorm, EnsembleLinear
from sojourn.networks.simba import Residual, Simba

SETTINGS = NetworkSettings(name="simba", hidden=(8, 8))


def slowly(body: Simba, x: Tensor, copy: int) -> Tensor:
    """One of the body's networks, item by item."""

    def linear(layer: EnsembleLinear, h: Tensor) -> Tensor:
        return functional.linear(h, layer.weight[copy].T, layer.bias[copy, 0])

    def norm(layer: EnsembleLayerNorm, h: Tensor) -> Tensor:
        return functional.layer_norm(h, h.shape, layer.gain[copy, 0], layer.offset[copy, 0])

    outputs = []
    for item in x:
        h = linear(body.embed, item)
        for block in body.blocks:
            assert isinstance(block, Residual)
            h = h + linear(block.narrow, linear(block.widen, norm(block.norm, h)).clamp_min(0.0))
        outputs.append(norm(body.norm, h))
    return torch.stack(outputs)


@pytest.mark.parametrize("copies", [1, 2])
def test_the_body_is_the_papers_network(copies: int):
    torch.manual_seed(0)
    body = build_body(5, SETTINGS, copies)
    assert isinstance(body, Simba)
    with torch.no_grad():
        for parameter in body.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # gains that are not 1, offsets and biases that are not 0
    x = torch.randn(7, 5)
    found = body(x)
    assert found.shape == (copies, 7, body.out_features)
    for copy in range(copies):
        torch.testing.assert_close(found[copy], slowly(body, x, copy))


def test_weights_are_drawn_for_each_network_by_itself():
    body = build_body(8, SETTINGS, copies=2)
    assert isinstance(body, Simba)
    for weight in body.embed.weight:
        torch.testing.assert_close(weight @ weight.T, torch.eye(8))
    assert not torch.equal(*body.embed.weight)
    wide = build_body(64, NetworkSettings(name="simba", hidden=(256,)))
    assert isinstance(wide, Simba)
    (block,) = wide.blocks
    assert isinstance(block, Residual)
    assert block.widen.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.02)
    assert block.narrow.weight.std().item() == pytest.approx((2 / 1024) ** 0.5, rel=0.02)
    assert not block.narrow.bias.any()


def test_blocks_of_different_widths_are_refused():
    with pytest.raises(ConfigError, match=r"\[8, 16\].*all of one width"):
        build_body(5, NetworkSettings(name="simba", hidden=(8, 16)))


def test_critics_may_be_wider_than_the_policy():
    settings = NetworkSettings(name="simba", hidden=(8,), critic_hidden=(32, 32))
    assert build_body(5, settings).out_features == 8
    assert build_body(5, settings.of_critic()).out_features == 32
    assert SETTINGS.of_critic() == SETTINGS
