"""An update of SAC against one that is written out: a layer at a time, a critic at a time, torch's own Adam, everything in sight."""

import copy
import math

import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn.functional import relu

from sojourn.algorithms import TrainBatch, build_algorithm
from sojourn.algorithms.sac import Sac

DISCOUNT, RATE, TARGET_RATE, DIMENSIONS = 0.99, 3e-4, 0.005, 2


def layers_of(module: torch.nn.Module, copy_number: int) -> list[Tensor]:
    """Weight, bias, weight, bias, ... of one of a module's networks, each a leaf of its own."""
    kept = [*module.body.layers, module.head]
    return [p[copy_number].detach().clone().requires_grad_() for layer in kept for p in (layer.weight, layer.bias)]


def run(x: Tensor, layers: list[Tensor]) -> Tensor:
    for index in range(0, len(layers) - 2, 2):
        x = relu(x @ layers[index] + layers[index + 1])
    return x @ layers[-2] + layers[-1]


class Slowly:
    """SAC as in the paper, from the same initial parameters and with the same noise as another one."""

    def __init__(self, fast: Sac) -> None:
        self.noise = torch.Generator()
        self.noise.set_state(fast.generator.get_state())
        self.actor = layers_of(fast.policy, 0)
        self.critics = [layers_of(fast.parts["critic"], number) for number in (0, 1)]
        self.targets = copy.deepcopy(self.critics)
        self.log_temperature = torch.zeros((), requires_grad=True)
        trained = {"critic": self.critics[0] + self.critics[1], "actor": self.actor, "temperature": [self.log_temperature]}
        self.adam = {name: torch.optim.Adam(tensors, lr=RATE) for name, tensors in trained.items()}

    def act(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = run(observation, self.actor).chunk(2, dim=1)
        std = log_std.clamp(-20, 2).exp()
        before = mean + std * torch.randn(mean.shape, generator=self.noise)
        density = torch.distributions.Normal(mean, std).log_prob(before) - torch.log(1 - before.tanh() ** 2)
        return before.tanh(), density.sum(1)

    def step(self, name: str, loss: Tensor) -> None:
        self.adam[name].zero_grad()
        loss.backward()
        self.adam[name].step()

    def update(self, batch: TrainBatch) -> Tensor:
        observation, weight, temperature = batch["observation"], batch.loss_weight, self.log_temperature.detach().exp()
        with torch.no_grad():
            action, log_prob = self.act(batch["next_observation"])
            pair = torch.cat((batch["next_observation"], action), 1)
            least = torch.minimum(*(run(pair, target)[:, 0] for target in self.targets))
            goes_on = 1.0 - batch["terminated"].float()
            target = batch["reward"][:, 0] + DISCOUNT * goes_on * (least - temperature * log_prob)
        q = [run(torch.cat((observation, batch["action"]), 1), critic)[:, 0] for critic in self.critics]
        self.step("critic", sum((weight * (one - target) ** 2).mean() / 2 for one in q))
        action, log_prob = self.act(observation)
        least = torch.minimum(*(run(torch.cat((observation, action), 1), critic)[:, 0] for critic in self.critics))
        self.step("actor", (weight * (temperature * log_prob - least)).mean())
        self.step("temperature", -(weight * self.log_temperature * (log_prob.detach() - DIMENSIONS)).mean())
        with torch.no_grad():
            for old, new in zip(self.targets[0] + self.targets[1], self.critics[0] + self.critics[1], strict=True):
                old += TARGET_RATE * (new - old)
        return sum((one.detach() - target).abs() for one in q) / 2


def built(make_config, make_schema, precision: str) -> tuple[Sac, object]:
    schema = make_schema(spaces.Box(-1.0, 1.0, (3,)), spaces.Box(-1.0, 1.0, (DIMENSIONS,)))
    config = make_config(network={"hidden": (32, 32)}, learners={"precision": precision})
    return build_algorithm(config, schema, "cpu", 3), schema


@pytest.mark.parametrize(("precision", "error"), [("float32", 1e-4), ("bfloat16", 0.05)])
def test_updates_are_those_of_the_paper(make_config, make_schema, random_batch, precision, error):
    fast, schema = built(make_config, make_schema, precision)
    slow = Slowly(fast)
    for seed in range(20):
        batch = random_batch(schema, size=64, seed=seed)
        torch.testing.assert_close(fast.update(batch).priority, slow.update(batch), rtol=error, atol=error)
    critic = fast.parts["critic"]
    for number, layers in enumerate(slow.critics):
        for mine, other in zip(layers_of(critic, number), layers, strict=True):
            assert (mine - other).abs().mean() < error * 20 * RATE  # how far Adam moves a parameter in 20 steps
    assert fast.parts["temperature"].log.item() == pytest.approx(slow.log_temperature.item(), rel=0.1 * error + 1e-4)
    assert math.isfinite(slow.log_temperature.item())


def test_bfloat16_is_what_multiplies_and_never_what_is_kept(make_config, make_schema, random_batch):
    exact, rounded = (built(make_config, make_schema, precision) for precision in ("float32", "bfloat16"))
    batch = random_batch(exact[1], size=64)
    assert not torch.equal(exact[0].update(batch).priority, rounded[0].update(batch).priority)
    assert {tensor.dtype for tensor in rounded[0].policy.state_dict().values()} == {torch.float32}
    assert {tensor.dtype for name, tensor in rounded[0].state().items() if name != "learner_step"} == {torch.float32}
