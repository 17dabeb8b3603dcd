"""Ctrl-C while ``python -m tuplespace`` or ``python -m workers`` still imports ends it silently, with 130.

Python imports a package before it runs the package's program, so that program cannot see to it. This is
the first thing that `tuplespace` imports, and looks at how Python was started: programs that
import us as a library keep their Ctrl-C.
"""

# Python's `signal` imports enum, and typing half of the library: too late for who types Ctrl-C.
import _signal  # type: ignore[import-not-found]
import os
import sys

_OURS = ("tuplespace", "workers")


def _is_ours() -> bool:
    """Whether Python looks for one of our programs: that long, and no longer, the first word is -m."""
    words = sys.orig_argv
    return sys.argv[:1] == ["-m"] and "-m" in words and words[words.index("-m") + 1] in _OURS


def _leave(*_: object) -> None:
    os._exit(130)


if _is_ours() and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _leave)  # until it is served
