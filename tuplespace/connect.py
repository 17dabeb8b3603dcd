"""Finding the space: at an address, on this machine, or by the ring."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from typing import Final

from Pyro5 import core as pyro
from Pyro5.errors import PyroError

from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.discovery import RING_PORT, Announcement, check_name, find
from tuplespace.frames import DEFAULT_PORT, OBJECT_NAME
from tuplespace.security import Key, key_path, load_key

URI_VARIABLE: Final = "TUPLESPACE_URI"
_RING_SECONDS: Final = 1.0


def connect(
    uri: str | None = None, *, name: str | None = None,
    key_file: str | os.PathLike[str] | None = None, retry_for: float = 60.0, timeout: float = 5.0,
    ring_port: int = RING_PORT,
) -> RemoteSpace:  # fmt: skip
    """Connect to a tuple space.

    Args:
        uri: ``PYRO:tuplespace@host:port`` or ``host:port``. None: $TUPLESPACE_URI, else this
            machine on the default port 9217, else the one space that answers on the local network.
        name: Instead: the space on the local network, or on this machine, with this name.
        key_file: The cluster key; None: $TUPLESPACE_KEY_FILE, else the user's data folder.
        retry_for: Seconds a call is repeated over broken connections before it gives up.
        timeout: Seconds to look for the space. ring_port: The UDP port that spaces listen on.

    Raises:
        SpaceUnreachableError: No space; says what was tried.
        AuthenticationError: No key, or not the space's.
        InvalidArgumentError: Several spaces answered; it names them. Or the address is none.
    """
    if uri and name:
        raise errors.InvalidArgumentError(f"the address {uri} or the name {name!r}, not both")
    given = uri or (not name and os.environ.get(URI_VARIABLE)) or None
    if given:
        source = "" if uri else f" (${URI_VARIABLE})"
        full = normalize_uri(given)
        # The rest of the time is for saying what is wrong.
        return _at(full, source, load_key(key_file), retry_for, 0.9 * timeout)
    if name is not None:
        check_name(name)
    key = load_key(key_file)
    refused: errors.TupleSpaceError | None = None
    if name is None:
        try:
            here = normalize_uri(f"127.0.0.1:{DEFAULT_PORT}")
            return _at(here, " (the default)", key, retry_for, 0.4 * timeout)
        except (errors.SpaceUnreachableError, errors.AuthenticationError) as error:
            refused = error  # by somebody else's space, perhaps
    found = find(key, name, min(_RING_SECONDS, 0.25 * timeout), port=ring_port)
    if not found:
        if isinstance(refused, errors.AuthenticationError):
            raise refused
        raise errors.SpaceUnreachableError(_none_found(name, refused, found.strangers))
    if len(found) > 1:
        raise errors.InvalidArgumentError(_several_found(found))
    try:
        return _at(found[0].uri, "", key, retry_for, 0.25 * timeout, found[0].name)
    except errors.AuthenticationError as error:
        # Its answer was signed with our key: somebody stands between, and tomorrow may not.
        raise errors.SpaceUnreachableError(f"the space that answered is another: {error}") from None


def _at(
    uri: str, source: str, key: Key, retry_for: float, timeout: float, name: str = ""
) -> RemoteSpace:
    space = RemoteSpace(uri, key, retry_for, name)
    try:
        space.ping(timeout)
    except errors.SpaceUnreachableError as error:
        space.close()
        raise errors.SpaceUnreachableError(
            f"no tuple space: tried {uri}{source}: {error}; start one with `invoke tuplespace`, "
            f"or say where it is with --space or ${URI_VARIABLE}"
        ) from None
    except BaseException:
        space.close()
        raise
    return space


def _none_found(
    name: str | None, refused: errors.TupleSpaceError | None, strangers: list[str]
) -> str:
    """Return what was tried, and what else there is to try."""
    tried = f"{str(refused).partition('; start one')[0]}; and " if refused else "no tuple space: "
    called = f" by the name of {name!r}" if name else ""
    if strangers:
        return (
            f"{tried}on the local network only a space at {' and '.join(strangers)} answered, with "
            "another cluster key than ours; copy its key file here, or name it with --key-file"
        )
    return (
        f"{tried}none on the local network answered{called}; start one with `invoke tuplespace "
        "--host 0.0.0.0`; if it runs in another subnet, behind a firewall or on its machine's "
        f"loopback only, say where it is with --space or ${URI_VARIABLE}"
    )


def _several_found(found: list[Announcement]) -> str:
    spaces = ", ".join(f"{space.name} at {space.uri}" for space in found)
    option = "--space" if len({space.name for space in found}) < len(found) else "--name or --space"
    return f"{len(found)} tuple spaces answered: {spaces}; say which with {option}"


def normalize_uri(uri: str) -> str:
    """Return the full URI of ``PYRO:tuplespace@host:port``, ``host:port`` or ``host``.

    Raises:
        InvalidArgumentError: It is none of them.
    """
    text = uri.strip()
    if not text.upper().startswith("PYRO:"):
        host, colon, port = text.rpartition(":")
        if not colon:
            host, port = text, str(DEFAULT_PORT)
        text = f"PYRO:{OBJECT_NAME}@{host}:{port}"
    with suppress(PyroError, ValueError, OSError):
        # Pyro takes numbers only for the scope in [fe80::1%eth0].
        text = re.sub(
            r"%([^]\d][^]]*)]", lambda found: f"%{socket.if_nametoindex(found[1])}]", text
        )
        parsed = pyro.URI(text)
        if parsed.host and parsed.port:
            return str(parsed)
    raise errors.InvalidArgumentError(
        f"{uri!r} is no space's address; write PYRO:{OBJECT_NAME}@host:port or host:port"
    )


def missing_key(key_file: str | os.PathLike[str] | None = None) -> bool:
    """Say whether the reason for an `AuthenticationError` may be that no space ran here yet."""
    return not key_path(key_file).exists()
