"""A network that really loses packets: a namespace of its own whose one device is a program that forgets some of them.

`python -m sojourn.bench.chaos.lossy SNAPSHOT STEPS TRIAL`, started in a fresh network namespace, runs one trial and prints what it
found. Needs root. What one end sends to `FAR` comes back to it as if `FAR` had sent it, so that both ends can live in one namespace; the
kernel's own TCP makes up for what is lost.
"""

import fcntl
import json
import os
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from sojourn.bench.chaos.faults import StageFault
from sojourn.bench.chaos.snapshot import Snapshot
from sojourn.bench.chaos.stage import Setting, Stage
from sojourn.bench.chaos.trial import Found, measure
from sojourn.config import Config
from sojourn.config.load import load_config
from sojourn.errors import UnavailableError

NEAR, FAR = "10.77.0.1", "10.77.0.2"
DEVICE = "wire"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
SOURCE, DESTINATION, END = 12, 16, 20  # of an IPv4 header
MOST_BYTES = 65_536
TRIAL_S = 150.0
SETTING = Setting(listen=f"{NEAR}:0", reached_as=FAR)


class LossyDevice:
    """Returns what is sent to `FAR`, ends exchanged (the checksums do not notice), except for a share of the packets."""

    def __init__(self) -> None:
        self.share = 0.0
        self.forgotten = 0
        self._random = np.random.default_rng(0)

    def open(self) -> None:
        """Make the device in the namespace of this process, which must have no other network."""
        self._device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self._device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        for words in ("link set lo up", f"addr add {NEAR}/24 dev {DEVICE}", f"link set {DEVICE} up"):
            subprocess.run(["ip", *words.split()], check=True)
        threading.Thread(target=self._return_packets, name="lossy device", daemon=True).start()

    def _return_packets(self) -> None:
        while packet := os.read(self._device, MOST_BYTES):
            if packet[0] >> 4 != 4:
                continue
            if self._random.random() < self.share:
                self.forgotten += 1
                continue
            ends = packet[DESTINATION:END] + packet[SOURCE:DESTINATION]
            os.write(self._device, packet[:SOURCE] + ends + packet[END:])


class PacketLoss(StageFault):
    """One packet in twenty is lost, in both directions, for ten seconds."""

    breaks_sessions = False
    share = 0.05
    lasts_s = 10.0

    def __init__(self, stage: Stage, rng: np.random.Generator, device: LossyDevice) -> None:
        super().__init__(stage, rng)
        self._device = device

    def inject(self) -> None:
        self.since_s = time.monotonic()
        self._device.share = self.share
        self.hold(self.lasts_s)
        latency = self.stage.heard.latency(self.since_s)
        self.said = (
            f"{self._device.forgotten} packets lost; acknowledgements p50 {latency.p50_s:.2f} s, p99 {latency.p99_s:.2f} s"
        )

    def heal(self) -> float:
        self._device.share = 0.0
        return self.since_s


def trial_in_a_namespace(snapshot: Snapshot, trial: int) -> Found:
    """Run a trial in a process and a namespace of its own. Raises UnavailableError with its last words if it says nothing."""
    if os.geteuid() != 0:
        raise UnavailableError("a lossy network needs root, for a network namespace of its own")
    arguments = [str(snapshot.folder), str(snapshot.steps), str(trial)]
    command = ["unshare", "-n", sys.executable, "-m", __name__, *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=TRIAL_S, check=False)
    if ran.returncode != 0:
        raise UnavailableError(f"the trial in its namespace ended with {ran.returncode}: {ran.stderr.strip()[-500:]}")
    return Found(**json.loads(ran.stdout.splitlines()[-1]))


def one_trial(snapshot: Snapshot, config: Config, trial: int) -> Found:
    """A trial in this process's namespace."""
    device, rng = LossyDevice(), np.random.default_rng(trial)
    device.open()
    with Stage(config, SETTING, snapshot, seed=trial) as stage:
        return measure(stage, PacketLoss(stage, rng, device), rng)


def main(arguments: list[str]) -> None:
    folder, steps, trial = arguments
    config = load_config(Path(folder) / "config.yaml", [])
    found = one_trial(Snapshot(Path(folder), int(steps)), config, int(trial))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(sys.argv[1:])
