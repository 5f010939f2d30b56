"""What starts a run's roles and keeps them running: on this machine or a cluster under Ray, or in one process.

    train(config, run_folder, run_id=...)       everything under Ray; returns the exit code
    serial(config, run_folder, run_id=...)      the same parts on threads of this process
    ask_to_scale(run_folder, {"actors": 8})     what `sojourn scale` writes for the launcher to see

Importing this package imports neither Ray nor torch.
"""

from sojourn.launcher.control import ask_to_scale
from sojourn.launcher.serial import serial
from sojourn.launcher.train import train

__all__ = ["ask_to_scale", "serial", "train"]
