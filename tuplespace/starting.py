"""Ctrl-C while ``python -m tuplespace`` or ``python -m workers`` still imports ends it silently, with 130.

Python imports a package before it runs the package's program, so that program cannot see to it. This is
the first thing that `tuplespace` imports, and looks at how Python was started: programs that
import us as a library keep their Ctrl-C.
"""

import os
import signal
import sys
from typing import Any, Final

_OURS: Final = ("tuplespace", "workers")


def _is_ours() -> bool:
    """Whether Python looks for one of our programs: that long, and no longer, the first word is -m."""
    words = sys.orig_argv
    return sys.argv[:1] == ["-m"] and "-m" in words and words[words.index("-m") + 1] in _OURS


def _leave(*_: Any) -> None:
    os._exit(130)


if _is_ours() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _leave)  # until it is served
