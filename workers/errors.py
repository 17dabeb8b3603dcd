"""What can go wrong between a job and the workers that run its tasks.

::

    WorkerError
    ├── ModuleNotShippableError (ImportError)   a module of the user cannot travel; .name, .reason
    ├── InvalidBundleError (ValueError)         these bytes are no bundle of modules
    ├── BlockLostError (LookupError)            a block is gone or damaged, wherever it was
    └── WorkFolderError                         the folder for blocks is not ours alone
"""

from __future__ import annotations

import traceback
from typing import Final

#: How long a text about an error may be, for it travels in a tuple.
_TEXT_LIMIT: Final = 16_000
#: In the details of an attempt that has missed something: it may be there, but nobody answers.
CUT_OFF: Final = "cut_off"


class WorkerError(Exception):
    """Root of everything this package raises on purpose."""


class ModuleNotShippableError(WorkerError, ImportError):
    """A module that a job needs has no Python source to send to the workers.

    Attributes:
        name: The module.
        reason: Why it cannot travel, and who needs it.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason, name=name)
        self.reason = reason

    def __str__(self) -> str:
        return (
            f"module {self.name!r} cannot travel to the workers: {self.reason}. "
            "Only modules with Python source travel; install others on every worker's host."
        )


class BlockLostError(WorkerError, LookupError):
    """A block cannot be had in the form its locator promises; its task must run again.

    Attributes:
        answered: Whether somebody was there to ask; if not, all that is there is lost as well.
        outcome_details: Plain facts for whoever runs it again, added by who knows them.
    """

    def __init__(self, message: str, *, answered: bool = True) -> None:
        super().__init__(message)
        self.answered = answered
        self.outcome_details: dict[str, object] = {} if answered else {CUT_OFF: True}


class WorkFolderError(WorkerError):
    """The folder for blocks cannot be made, or somebody else could read or change it."""


class InvalidBundleError(WorkerError, ValueError):
    """These are not the bytes of a bundle, or a path in it leads out of its folder."""


def summary(error: BaseException) -> str:
    """Return the class and message of an exception; one whose str() raises does no harm."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()
    return shorten(text.removeprefix(f"{type(error).__module__}."))


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception, and of those behind it, as Python would print it."""
    return shorten("".join(traceback.format_exception(type(error), error, error.__traceback__)))


def shorten(text: str) -> str:
    """Return a text, without its middle if it is too long to travel in a tuple."""
    half = _TEXT_LIMIT // 2
    return text if len(text) <= _TEXT_LIMIT else f"{text[:half]}\n[...]\n{text[-half:]}"
