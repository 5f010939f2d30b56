"""Gymnasium's SyncVectorEnv of eight HalfCheetah-v5 on one core with random actions, and nothing learned or sent."""

import gymnasium as gym
from turns import rate, serve

ENVIRONMENTS = 8


def main():
    environments = gym.make_vec("HalfCheetah-v5", num_envs=ENVIRONMENTS, vectorization_mode="sync")
    environments.reset(seed=1)
    actions = [environments.action_space.sample() for _ in range(64)]
    turn = [0]

    def once():
        turn[0] += 1
        environments.step(actions[turn[0] % 64])
        return ENVIRONMENTS

    serve({"steps": lambda seconds: [rate(once, seconds)]})


if __name__ == "__main__":
    main()
