"""The agent's clerk: confirms what has been answered, all that has piled up in one round trip.

What if ... right here? The agent dies before the confirm: its claims are released and the tasks
run again. The reply is lost: the call is repeated by its number and applied once. The space is
away or full: the clerk goes on trying. A claim has ended: its result is refused, because another
agent has the task now.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import zip_longest
from typing import Any, Final

from tuplespace import errors
from tuplespace.interface import Space
from workers.shelf import Errand, Shelf

_MOST: Final = 1000
#: Seconds until the next try while the space is full.
_PAUSE: Final = 0.2

Answer = tuple[Errand, tuple[Any, ...] | None]


class Clerk:
    """A thread that carries answers to the space.

    Args:
        space: Where. shelf: Forgets the errands whose claims have ended.
        excuse: Told of an error that a later try may not meet; waits a little.
        say: Told what a person should know. too_large: Returns what to write instead of a result
            that the space does not take, and why. guard: Runs the thread's target.
    """

    def __init__(
        self, space: Space, shelf: Shelf, excuse: Callable[[errors.TupleSpaceError], None],
        say: Callable[[str], None], too_large: Callable[[Errand, str], tuple[Any, ...]],
        guard: Callable[[Callable[[], None]], None],
    ) -> None:  # fmt: skip
        self._space, self._shelf, self._excuse, self._say = space, shelf, excuse, say
        self._too_large = too_large
        self._answers: queue.SimpleQueue[list[Answer] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=guard, args=(self._run,), name="clerk", daemon=True)
        self._thread.start()

    def put(self, answers: list[Answer]) -> None:
        """Confirm errands' claims soon, writing their results; None: nothing is to be written."""
        self._answers.put(answers)

    def finish(self, seconds: float) -> bool:
        """Confirm what is there, for so long at most; say whether that was all."""
        self._answers.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (first := self._answers.get()) is not None:
            batch, ended = first, False
            with suppress(queue.Empty):
                while len(batch) < _MOST:
                    answers = self._answers.get_nowait()
                    if answers is None:
                        ended = True
                        break
                    batch += answers
            while batch:
                batch = self._confirm(batch)
            if ended:
                return

    def _confirm(self, batch: list[Answer]) -> list[Answer]:
        """Confirm what can be; return what is to be tried again."""
        pairs = [(errand.claim, () if result is None else (result,)) for errand, result in batch]
        try:
            outcomes = self._space.confirm_many(pairs)
        except errors.ClosedError:
            outcomes = []  # the claims have ended with the session
        except errors.SpaceLostError as error:
            self._excuse(error)
            outcomes = []
        except errors.TupleTooLargeError as error:
            return self._smaller(batch, error)
        except errors.TupleSpaceError as error:
            self._excuse(error)
            return batch
        if not any(outcomes):
            self._shelf.forget([errand for errand, _ in batch])
            return []
        again, done, refused, full = [], [], None, None
        for answer, outcome in zip_longest(batch, outcomes):
            if isinstance(outcome, errors.SpaceFullError):
                again.append(answer)
                full = outcome
            else:
                done.append(answer[0])
                refused = outcome or refused
        self._shelf.forget(done)
        if refused is not None:
            self._say(f"a result was refused: {refused}")
        if full is not None:
            self._excuse(full)
            threading.Event().wait(_PAUSE)
        return again

    def _smaller(self, batch: list[Answer], error: errors.TupleTooLargeError) -> list[Answer]:
        """Confirm what can be of a batch that is too large, or of which something is."""
        if len(batch) > 1:
            middle = len(batch) // 2
            return [*self._confirm(batch[:middle]), *self._confirm(batch[middle:])]
        errand = batch[0][0]
        if errand.is_refused:  # not even this can be said
            self._say(f"the space takes no answer at all: {error}")
            self._shelf.forget([errand])
            return []
        errand.is_refused = True
        return [(errand, self._too_large(errand, str(error)))]
