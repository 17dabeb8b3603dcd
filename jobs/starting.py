"""Ctrl-C while Python still imports: nothing has begun, so the program ends silently, with status 130."""

import os
import signal
from typing import Any


def quiet() -> None:
    """Let Ctrl-C end this process without a word until `begun`; nothing if it is handled or ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def begun() -> None:
    """Let Ctrl-C be a KeyboardInterrupt again, after `quiet`."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(*_: Any) -> None:
    os._exit(130)  # an exception would be reported where an import ends in a callback
