"""Ctrl-C while Python still imports: nothing has begun, so the program ends silently, with status 130.

`tuplespace.starting` does so for programs that Python itself finds; this imports nothing of ours.
"""

# Python's `signal` imports enum, and typing half of the library: too late for who types Ctrl-C.
import _signal  # type: ignore[import-not-found]
import os


def quiet() -> None:
    """Let Ctrl-C end this process without a word until `begun`; nothing if it is handled or ignored."""
    _replace(_signal.default_int_handler, _leave)


def begun() -> None:
    """Let Ctrl-C be a KeyboardInterrupt again, after `quiet`."""
    _replace(_leave, _signal.default_int_handler)


def _replace(handler: object, by: object) -> None:
    if _signal.getsignal(_signal.SIGINT) is handler:
        try:
            _signal.signal(_signal.SIGINT, by)
        except ValueError:
            pass  # only the main thread may


def _leave(*_: object) -> None:
    os._exit(130)  # an exception would be reported where an import ends in a callback
