"""SAC of Stable-Baselines3 with its defaults: returns by environment steps and by the clock, evaluations apart.

Arguments: environment id, seed, environment steps, steps between evaluations, episodes of an evaluation. Prints one line of JSON.
"""

import json
import platform
import sys
import time

import gymnasium as gym
import stable_baselines3
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy


class Looks(BaseCallback):
    """Evaluates every so many steps with a deterministic policy on an environment of its own; the clock stands meanwhile."""

    def __init__(self, environment: gym.Env, every: int, episodes: int) -> None:
        super().__init__()
        self.environment, self.every, self.episodes = environment, every, episodes
        self.looks: list[dict[str, float]] = []
        self.evaluating_s = 0.0

    def _on_training_start(self) -> None:
        self.began_s = time.monotonic()

    def _on_step(self) -> bool:
        if self.num_timesteps % self.every == 0:
            now_s = time.monotonic()
            mean, _ = evaluate_policy(self.model, self.environment, self.episodes, deterministic=True, warn=False)
            elapsed_s = round(now_s - self.began_s - self.evaluating_s, 1)
            self.looks.append({"env_steps": self.num_timesteps, "return_mean": float(mean), "elapsed_s": elapsed_s})
            self.evaluating_s += time.monotonic() - now_s
        return True


def main(environment: str, seed: int, env_steps: int, every: int, episodes: int) -> None:
    elsewhere = gym.wrappers.RecordEpisodeStatistics(gym.make(environment))
    elsewhere.reset(seed=10_000 + seed)
    looks = Looks(elsewhere, every, episodes)
    SAC("MlpPolicy", environment, seed=seed, device="cpu").learn(env_steps, callback=looks)
    version = f"stable-baselines3 {stable_baselines3.__version__}, torch {torch.__version__}, Python {platform.python_version()}"
    print(json.dumps({"looks": looks.looks, "version": f"{version}, {torch.get_num_threads()} threads"}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
