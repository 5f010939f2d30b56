"""RLlib's prioritised buffer of episodes, inside the learner's own process, as its SAC uses it."""

import gymnasium as gym
import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.utils.replay_buffers.prioritized_episode_buffer import PrioritizedEpisodeReplayBuffer
from turns import W1_STEPS, rate, serve, w1

STEPS = W1_STEPS // 10  # a tenth: its trees are Python, and a million steps take minutes to enter

EPISODE = 1_000
BLOCK = 64
BATCH = 256


def episode(steps):
    columns = w1(steps)
    observations = np.concatenate([columns["observation"], columns["next_observation"][-1:]])
    return SingleAgentEpisode(
        observations=list(observations),
        observation_space=gym.spaces.Box(-np.inf, np.inf, (17,), np.float32),
        actions=list(columns["action"]),
        action_space=gym.spaces.Box(-1.0, 1.0, (6,), np.float32),
        rewards=list(columns["reward"]),
        terminated=True,
        len_lookback_buffer=0,
    )


def main():
    buffer = PrioritizedEpisodeReplayBuffer(capacity=STEPS, batch_size_B=BATCH, alpha=0.6)

    def fill():
        while buffer.get_num_timesteps() < STEPS:
            buffer.add(episode(EPISODE))

    def sample(seconds):
        fill()

        def once():
            buffer.sample(num_items=BATCH, beta=0.4)
            return BATCH

        return [rate(once, seconds)]

    def insert(seconds):
        fill()
        made = [episode(BLOCK) for _ in range(16)]

        def once():
            buffer.add(made.pop() if made else episode(BLOCK))
            return BLOCK

        return [rate(once, seconds)]

    serve({"w1-sample": sample, "w1-insert": insert})


if __name__ == "__main__":
    main()
