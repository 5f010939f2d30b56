"""The command line. `main` is the program `sojourn`; each command is a file here.

Importing this package imports no torch, Ray, Gymnasium or plotting: a command imports what it needs when it runs.
"""

import errno
import os
import signal
import sys
import warnings
from types import FrameType

from sojourn.errors import INTERRUPTED, CheckpointError, SojournError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def main() -> None:
    """Run the program. A mistake of the user's ends as one message and a code of `sojourn/errors.py`, without a stack trace.

    So does a signal, wherever the program is; while a run goes, `sojourn.launcher.interrupts` takes signals.
    """
    signal.signal(signal.SIGTERM, _terminated)
    # `requests`, which Ray imports, ignores this itself; a `catch_warnings` that ends in another thread undoes that.
    warnings.filterwarnings("ignore", "SOCKS support in urllib3")
    try:
        _run()
    except KeyboardInterrupt:
        _leave()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            _leave()
        raise


def _run() -> None:
    from sojourn.cli.app import app

    sys.path.append(os.getcwd())  # `my_module:make` lies beside the user; last, so that it hides no package
    try:
        app()
    except SojournError as error:
        print(f"sojourn: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(0)  # the reader of our output went away: `sojourn list envs | head`
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"sojourn: {error.filename or 'a file of the run'} cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(CheckpointError.exit_code)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _leave() -> None:
    """End at once. Threads of a serial run may still be in native code, which aborts the process if Python winds up around them."""
    print("sojourn: interrupted", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(INTERRUPTED)
