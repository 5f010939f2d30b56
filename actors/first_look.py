"""What does the environment look like, unless this role must leave before it is made? Makes one, on a thread that may be left behind.

Runs the environment's own code, which may block for as long as it likes; the caller never waits longer than it is told to.
"""

import threading
import time
from concurrent.futures import Future, wait

from actors.watchdog import NO_ACTION_ALLOWANCE_S, TICK_S
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.config.schema import EnvironmentSettings
from sojourn.environments import describe
from sojourn.errors import HungError


def first_look(settings: EnvironmentSettings, config: Config, stop: threading.Event) -> Schema | None:
    """Schema of the environment's experience; None when `stop` is set before the environment is made.

    Raises HungError for one that is not made within `step_timeout_s` and an allowance, and what `describe` raises.
    """
    described: Future[Schema] = Future()
    threading.Thread(target=_describe, args=(settings, config, described), name="first look", daemon=True).start()
    allowed_s = settings.step_timeout_s + NO_ACTION_ALLOWANCE_S
    until_s = time.monotonic() + allowed_s
    while not stop.is_set():
        wait([described], TICK_S)
        if described.done():
            return described.result()
        if time.monotonic() > until_s:
            raise HungError(f"environment {settings.id} was not made within {allowed_s:g} s; this process ends")
    return None


def _describe(settings: EnvironmentSettings, config: Config, described: Future[Schema]) -> None:
    try:
        described.set_result(describe(settings, config))
    except BaseException as error:  # noqa: BLE001  raised again where the result is asked for
        described.set_exception(error)
