"""EnvPool's HalfCheetah-v5: eight environments stepped together on one core with random actions, and nothing learned or sent."""

import envpool
import numpy as np
from turns import rate, serve

ENVIRONMENTS = 8


def main():
    environments = envpool.make_gymnasium("HalfCheetah-v5", num_envs=ENVIRONMENTS, num_threads=1, seed=1)
    environments.reset()
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (64, ENVIRONMENTS, 6))
    turn = [0]

    def once():
        turn[0] += 1
        environments.step(actions[turn[0] % 64])
        return ENVIRONMENTS

    serve({"steps": lambda seconds: [rate(once, seconds)]})


if __name__ == "__main__":
    main()
