"""SBX, Stable-Baselines3's SAC in JAX: gradient steps a second on one thread, networks of 256x256, batches of 256 from its own buffer."""

from halfcheetah_shapes import Shapes
from sbx import SAC
from turns import rate, serve

STEPS = 10_000
UPDATES = 50  # compiled as one


def main():
    made = []

    def learner():
        if not made:
            made.append(
                SAC(
                    "MlpPolicy",
                    Shapes(),
                    batch_size=256,
                    learning_starts=STEPS,
                    buffer_size=STEPS,
                    device="cpu",
                    seed=1,
                    gradient_steps=UPDATES,
                )
            )
            made[0].learn(STEPS)
            made[0].train(gradient_steps=UPDATES, batch_size=256)
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
