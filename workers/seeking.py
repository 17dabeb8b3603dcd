"""Seeking: where an agent's space is, at first and when it has moved."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.connect import connect, missing_key
from workers.voice import ASK_SECONDS, Voice

_RETRY_SECONDS: Final = 1.0
#: A space that the ring has found and that is away for so long is looked for again.
_MOVED_SECONDS: Final = 15.0


class Seeking:
    """One agent's.

    Args:
        uri: The space's; None: as `tuplespace.connect` finds it. name: Its name on the local
            network, instead. key_file: The cluster key. voice: Tells what comes of it.
    """

    def __init__(
        self, uri: str | None, name: str | None, key_file: str | None, voice: Voice
    ) -> None:
        self._uri, self._name, self._key_file, self._voice = uri, name, key_file, voice
        self._away_since = math.inf

    def connect(
        self, register: Callable[[RemoteSpace], None], stopping: threading.Event
    ) -> RemoteSpace | None:
        """Connect to the space and register there, however long it takes; None: stopped meanwhile.

        Raises:
            AuthenticationError: The key is not the space's.
            InvalidArgumentError: Several spaces answered on the local network; it names them.
        """
        while not stopping.is_set():
            try:
                space = connect(
                    self._uri, name=self._name, key_file=self._key_file, retry_for=ASK_SECONDS
                )
                register(space)
            except errors.AuthenticationError as error:
                if not missing_key(self._key_file):
                    raise
                self._voice.away(error)
            except (errors.SpaceUnreachableError, errors.SpaceFullError) as error:
                self._voice.away(error)
            except errors.SpaceLostError:
                continue
            else:
                return space
            stopping.wait(_RETRY_SECONDS)
        return None

    def is_there(self) -> None:
        """Take in that the space has answered."""
        self._away_since = math.inf

    def is_away(self, space: RemoteSpace, since: float) -> None:
        """Take in that it has not, since then; if that lasts, and it has a name, look where it is now.

        Blocks for some seconds while it looks.
        """
        self._away_since = min(self._away_since, since)
        if space.name and time.monotonic() - self._away_since > _MOVED_SECONDS:
            with (
                suppress(errors.TupleSpaceError),
                connect(name=space.name, key_file=self._key_file, retry_for=0) as found,
            ):
                if found.uri != space.uri:
                    space.uri = found.uri
                    self._voice.moved(space.name, found.uri)
