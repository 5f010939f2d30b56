"""The update of Stable-Baselines3's SAC, operation for operation: for machines on which it is not installed.

Transcribed from version 2.9.2 (MIT licence, https://github.com/DLR-RM/stable-baselines3): sac/sac.py `train`, sac/policies.py, the squashed
Gaussian of common/distributions.py, `ReplayBuffer.sample` and `polyak_update`, for flat observations and actions, with its defaults.
Distributions validate their arguments, as torch's do by default. What only an image, a schedule or a callback would need is left out.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional

LEARNING_RATE, DISCOUNT, TAU, HIDDEN, EPSILON = 3e-4, 0.99, 0.005, 256, 1e-6


def mlp(inputs: int, outputs: int) -> list[nn.Module]:
    """`create_mlp` with net_arch [256, 256]; outputs 0: no last layer."""
    layers = [nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
    return [*layers, nn.Linear(HIDDEN, outputs)] if outputs else layers


class Actor(nn.Module):
    """A squashed Gaussian with separate last layers for mean and log standard deviation."""

    def __init__(self, observation: int, action: int) -> None:
        super().__init__()
        self.features = nn.Flatten()
        self.latent_pi = nn.Sequential(*mlp(observation, 0))
        self.mu, self.log_std = nn.Linear(HIDDEN, action), nn.Linear(HIDDEN, action)

    def action_log_prob(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.latent_pi(self.features(observation.float()))
        mean, log_std = self.mu(latent), torch.clamp(self.log_std(latent), -20, 2)
        distribution = Normal(mean, torch.ones_like(mean) * log_std.exp())
        gaussian = distribution.rsample()
        action = torch.tanh(gaussian)
        log_prob = distribution.log_prob(gaussian).sum(dim=1)
        log_prob -= torch.sum(torch.log(1 - action**2 + EPSILON), dim=1)
        return action, log_prob


class Critic(nn.Module):
    """Two Q functions, one after the other."""

    def __init__(self, observation: int, action: int) -> None:
        super().__init__()
        self.features = nn.Flatten()
        self.q_networks = nn.ModuleList(nn.Sequential(*mlp(observation + action, 1)) for _ in range(2))

    def forward(self, observation: Tensor, action: Tensor) -> tuple[Tensor, ...]:
        with torch.set_grad_enabled(False):
            features = self.features(observation.float())
        together = torch.cat([features, action], dim=1)
        return tuple(network(together) for network in self.q_networks)


class Buffer:
    """`ReplayBuffer` of one environment, full of random transitions."""

    def __init__(self, observation: int, action: int, size: int, device: str) -> None:
        rng = np.random.default_rng(0)
        self._size, self._device = size, device
        self._observations = rng.standard_normal((size, 1, observation), np.float32)
        self._next_observations = rng.standard_normal((size, 1, observation), np.float32)
        self._actions = rng.uniform(-1, 1, (size, 1, action)).astype(np.float32)
        self._rewards = rng.standard_normal((size, 1), np.float32)
        self._dones, self._timeouts = np.zeros((size, 1), np.float32), np.zeros((size, 1), np.float32)

    def sample(self, items: int) -> tuple[Tensor, ...]:
        """Observations, actions, next observations, dones and rewards."""
        index = np.random.randint(0, self._size, size=items)
        environment = np.random.randint(0, high=1, size=(items,))
        found = (
            self._observations[index, environment, :],
            self._actions[index, environment, :],
            self._next_observations[index, environment, :],
            (self._dones[index, environment] * (1 - self._timeouts[index, environment])).reshape(-1, 1),
            self._rewards[index, environment].reshape(-1, 1),
        )
        return tuple(torch.tensor(array, device=self._device) for array in found)


class StableBaselines3Sac:
    """Networks, optimisers, buffer and `train`."""

    def __init__(self, observation: int, action: int, device: str, buffer_size: int = 1_000) -> None:
        self._buffer = Buffer(observation, action, buffer_size, device)
        self._actor = Actor(observation, action).to(device)
        self._critic = Critic(observation, action).to(device)
        self._critic_target = Critic(observation, action).to(device)
        self._critic_target.load_state_dict(self._critic.state_dict())
        self._log_ent_coef = torch.log(torch.ones(1, device=device)).requires_grad_(True)
        self._target_entropy = -float(action)
        learned = (self._actor.parameters(), self._critic.parameters(), [self._log_ent_coef])
        self._of_actor, self._of_critic, self._of_ent_coef = (torch.optim.Adam(some, lr=LEARNING_RATE) for some in learned)

    def train(self, gradient_steps: int, batch_size: int) -> None:
        """The losses are read back from the device in every step, as there."""
        losses: dict[str, list[float]] = {"ent_coef": [], "ent_coef_loss": [], "critic": [], "actor": []}
        for _ in range(gradient_steps):
            self._step(*self._buffer.sample(batch_size), losses)
        for values in losses.values():
            np.mean(values)

    def _step(
        self, observations: Tensor, actions: Tensor, next_observations: Tensor, dones: Tensor, rewards: Tensor, losses: dict
    ) -> None:
        actions_pi, log_prob = self._actor.action_log_prob(observations)
        log_prob = log_prob.reshape(-1, 1)
        ent_coef = torch.exp(self._log_ent_coef.detach())
        ent_coef_loss = -(self._log_ent_coef * (log_prob + self._target_entropy).detach()).mean()
        losses["ent_coef_loss"].append(ent_coef_loss.item())
        losses["ent_coef"].append(ent_coef.item())
        minimise(self._of_ent_coef, ent_coef_loss)
        with torch.no_grad():
            next_actions, next_log_prob = self._actor.action_log_prob(next_observations)
            next_q_values = torch.cat(self._critic_target(next_observations, next_actions), dim=1)
            next_q_values, _ = torch.min(next_q_values, dim=1, keepdim=True)
            next_q_values = next_q_values - ent_coef * next_log_prob.reshape(-1, 1)
            target_q_values = rewards + (1 - dones) * DISCOUNT * next_q_values
        current_q_values = self._critic(observations, actions)
        critic_loss = 0.5 * sum(functional.mse_loss(current_q, target_q_values) for current_q in current_q_values)
        losses["critic"].append(critic_loss.item())
        minimise(self._of_critic, critic_loss)
        q_values_pi = torch.cat(self._critic(observations, actions_pi), dim=1)
        min_qf_pi, _ = torch.min(q_values_pi, dim=1, keepdim=True)
        actor_loss = (ent_coef * log_prob - min_qf_pi).mean()
        losses["actor"].append(actor_loss.item())
        minimise(self._of_actor, actor_loss)
        polyak_update(self._critic, self._critic_target)


def minimise(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def polyak_update(online: nn.Module, target: nn.Module) -> None:
    for param, target_param in zip(online.parameters(), target.parameters(), strict=True):
        target_param.data.mul_(1 - TAU)
        torch.add(target_param.data, param.data, alpha=TAU, out=target_param.data)
