"""An environment with HalfCheetah's shapes and no physics: learners are measured on a buffer of what it gives."""

import gymnasium as gym
import numpy as np


class Shapes(gym.Env):
    """Steps at once; what it returns is random."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (17,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (6,), np.float32)

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        return self.rng.standard_normal(17, np.float32), {}

    def step(self, action):
        return self.rng.standard_normal(17, np.float32), float(self.rng.standard_normal()), False, False, {}
