"""Observations of every kind as features, image layouts, and running normalisers."""

import numpy as np
import pytest
import torch
from gymnasium import spaces

from sojourn.config.algorithms import NetworkSettings
from sojourn.errors import ConfigError
from sojourn.networks import ObservationEncoder
from sojourn.networks.images import channels_first
from sojourn.networks.normaliser import RewardScale, RunningMoments

ACTION = spaces.Discrete(2)
SMALL = NetworkSettings(hidden=(8,), image_features=4)


def encoder(schema, normalise=False) -> ObservationEncoder:
    torch.manual_seed(0)
    return ObservationEncoder(schema, SMALL, normalise=normalise)


def image(*shape: int) -> spaces.Box:
    return spaces.Box(0, 255, shape, np.uint8)


def test_discrete_leaves_are_one_hot_from_their_own_start(make_schema):
    space = spaces.Tuple((spaces.Discrete(3, start=5), spaces.MultiDiscrete([2, 2], start=[0, 1]), spaces.MultiBinary(2)))
    columns = {
        "observation.0": torch.tensor([6]),
        "observation.1": torch.tensor([[1, 1]]),
        "observation.2": torch.tensor([[1, 0]], dtype=torch.int8),
    }
    assert encoder(make_schema(space, ACTION))(columns).tolist() == [[0, 1, 0, 0, 1, 1, 0, 1, 0]]


@pytest.mark.parametrize("space", [spaces.Dict({}), spaces.Box(-1, 1, (0,))])
def test_an_observation_without_any_number_is_refused(make_schema, space):
    with pytest.raises(ConfigError, match="holds no number"):
        encoder(make_schema(space, ACTION))


def test_vectors_of_any_dtype_and_shape_are_flattened_to_float32(make_schema):
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2, 2), np.float64), "b": spaces.Box(0, 9, (1,), np.uint8)})
    columns = {"next_observation.a": torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), "next_observation.b": torch.tensor([[7]])}
    features = encoder(make_schema(space, ACTION))(columns, "next_observation")
    assert features.dtype == torch.float32
    assert features.tolist() == [[1, 2, 3, 4, 7]]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 5), (10, 10), (42, 42), (84, 64), (20, 120)])
@pytest.mark.parametrize("layout", ["hw", "hwc", "chw"])
@pytest.mark.parametrize("stack", [1, 3])
def test_images_of_any_size_and_layout_give_features(make_schema, random_columns, height, width, layout, stack):
    shape = {"hw": (height, width), "hwc": (height, width, 1), "chw": (1, height, width)}[layout]
    schema = make_schema(image(*shape), ACTION, frame_stack=stack)
    features = encoder(schema)(random_columns(schema.policy_observation_space, "observation", 2))
    assert features.shape == (2, 4)


def test_layouts_of_the_same_picture_give_the_same_channels():
    channels_last = torch.arange(2 * 3 * 5 * 6 * 4).reshape(2, 3, 5, 6, 4)  # [B, S, H, W, C]
    expected = channels_last.permute(0, 1, 4, 2, 3).reshape(2, 12, 5, 6)
    assert torch.equal(channels_first(channels_last, (5, 6, 4)), expected)
    assert torch.equal(channels_first(channels_last.permute(0, 1, 4, 2, 3), (4, 5, 6)), expected)
    assert torch.equal(channels_first(channels_last[:, 0], (5, 6, 4)), expected[:, :4])
    assert torch.equal(channels_first(channels_last[..., 0], (5, 6)), expected[:, ::4])


def test_pixels_are_divided_by_the_spaces_largest_value(make_schema):
    binary = spaces.Box(0, 1, (6, 6), np.uint8)
    full, dark = torch.full((1, 6, 6), 255, dtype=torch.uint8), torch.zeros(1, 6, 6, dtype=torch.uint8)
    of_bytes, of_bits = encoder(make_schema(image(6, 6), ACTION)), encoder(make_schema(binary, ACTION))
    lit = of_bytes({"observation": full})
    assert torch.equal(lit, of_bits({"observation": full // 255}))
    assert not torch.equal(lit, of_bytes({"observation": dark}))


def test_moments_are_those_of_all_items_whatever_the_batches():
    rng = np.random.default_rng(1)
    x, weight = 3.0 + 2.0 * rng.standard_normal((90, 4)), rng.uniform(0.1, 2.0, 90)
    moments = RunningMoments(4)
    for part in np.split(np.arange(90), [10, 11, 60]):
        moments.observe(torch.from_numpy(x[part]), torch.from_numpy(weight[part]))
    mean = np.average(x, axis=0, weights=weight)
    variance = np.average((x - mean) ** 2, axis=0, weights=weight)
    np.testing.assert_allclose(moments.mean.numpy(), mean)
    np.testing.assert_allclose((moments.m2 / moments.count).numpy(), variance)
    normalised = moments.normalise(torch.from_numpy(x), clip=10.0)
    np.testing.assert_allclose(normalised.numpy(), (x - mean) / np.sqrt(variance), atol=1e-6)


def test_before_the_first_item_nothing_is_changed():
    x = torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(RunningMoments(2).normalise(x, 10.0), x)
    torch.testing.assert_close(RewardScale()(x), x)


def test_a_constant_feature_stays_finite_and_far_values_are_cut():
    moments = RunningMoments(1)
    moments.observe(torch.full((8, 1), 3.0), torch.ones(8))
    assert moments.normalise(torch.tensor([[3.0], [4.0]]), clip=10.0).tolist() == [[0.0], [10.0]]


def test_rewards_are_divided_by_their_root_mean_square_and_not_shifted():
    scale = RewardScale()
    scale.observe(torch.tensor([3.0, 4.0, 0.0]), torch.tensor([1.0, 1.0, 2.0]))  # mean square 25 / 4
    torch.testing.assert_close(scale(torch.tensor([[2.5, -5.0, 0.0]])), torch.tensor([[1.0, -2.0, 0.0]]))


def test_a_target_copy_shares_moments_and_not_parameters(make_schema):
    schema = make_schema(spaces.Dict({"camera": image(8, 8, 1), "position": spaces.Box(-1, 1, (2,))}), ACTION)
    online = encoder(schema, normalise=True)
    target = online.target_copy()
    online.observe({"observation.position": torch.randn(16, 2), "observation.camera": torch.zeros(16, 8, 8, 1)}, torch.ones(16))
    moments = [name for name in online.state_dict() if name.endswith("mean")]
    assert all(torch.equal(online.state_dict()[name], target.state_dict()[name]) for name in moments)
    assert moments
    ours, theirs = next(online.parameters()), next(target.parameters())
    assert ours.data_ptr() != theirs.data_ptr()
