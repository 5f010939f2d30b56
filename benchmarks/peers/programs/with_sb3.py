"""Stable-Baselines3's SAC: gradient steps a second on one thread, networks of 256x256, batches of 256 from its own buffer."""

import torch
from halfcheetah_shapes import Shapes
from stable_baselines3 import SAC
from turns import rate, serve

STEPS = 10_000
UPDATES = 10


def main():
    torch.set_num_threads(1)
    made = []

    def learner():
        if not made:
            made.append(
                SAC("MlpPolicy", Shapes(), batch_size=256, learning_starts=STEPS, buffer_size=STEPS, device="cpu", seed=1)
            )
            made[0].learn(STEPS)
        return made[0]

    def updates(seconds):
        sac = learner()

        def once():
            sac.train(gradient_steps=UPDATES, batch_size=256)
            return UPDATES

        return [rate(once, seconds)]

    serve({"updates": updates})


if __name__ == "__main__":
    main()
