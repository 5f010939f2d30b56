"""What ends a run's processes when its launcher was killed? A small process that waits until the launcher is gone.

It reads a pipe that only the launcher writes to, so the kernel tells it of every kind of death: kill -9, a closed terminal, no
memory left. Until then it sleeps in one read and has imported nothing but the standard library (10 MB, 20 ms to start).
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OVER = "over\n"
LEAVE_S = 10.0
WAIT_CODE = (
    "import sys\n"
    "if not sys.stdin.readline():\n"
    "    sys.path[:] = sys.argv[3:]\n"
    "    from sojourn.launcher.guard import clean_up\n"
    "    clean_up(*sys.argv[1:3])\n"
)


@contextmanager
def guarded(run_folder: Path, ray_folder: Path | None = None) -> Iterator[None]:
    """While inside, the launcher's death ends what it has started. ray_folder: the private Ray's temporary folder."""
    command = [sys.executable, "-c", WAIT_CODE, str(run_folder), str(ray_folder or ""), *sys.path]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # a Ctrl-C in the terminal is not for it
    ) as guard:
        try:
            yield
        finally:
            guard.communicate(OVER)


def clean_up(run_folder: str, ray_folder: str) -> None:
    """End the dead launcher's Ray, then its embedded servers, unless another launcher drives the run already and adopts them."""
    from sojourn.launcher.leftovers import end_embedded_servers, end_users_of, forget_announcements
    from sojourn.logs import log_to
    from sojourn.run_folder import locked

    folder = Path(run_folder)
    with log_to(folder / "logs" / "launcher.log"), locked(folder) as ours:
        if ray_folder:
            end_users_of(Path(ray_folder), LEAVE_S)
        if ours:
            end_embedded_servers(folder)
            forget_announcements(folder)
