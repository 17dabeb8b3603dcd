"""Block servers in the space: blocks outlive the agent that wrote them.

::

    ("blocks", host, uri)            leased, an agent's

A locator names the block server of the agent whose worker wrote the block, but every agent of that
host can hand it out. What if that agent dies? Whoever has missed its blocks says which server was
silent; the driver, which has the space at hand, looks for another one of the host that has them.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tuplespace import errors
from tuplespace.client import RemoteSpace
from tuplespace.interface import Handle, Space
from tuplespace.security import Key
from workers.blocks import BlockReader, BlockServer, Location
from workers.errors import BlockLostError

logger = logging.getLogger(__name__)

SERVER_LEASE: Final = 10.0


class Serving:
    """The block server of an agent or a driver, at the address where others reach this machine.

    What if the space listened to this machine alone, and then to others too? Or this machine has got
    another address? Then `follow` starts another server there. The first goes on: there are blocks
    whose locators name it, on this machine it is as good, and the address may come back.

    Args:
        root, key: See `BlockServer`. space: Says which address that is.
    """

    def __init__(self, root: Path, key: Key, space: RemoteSpace) -> None:
        self._root, self._key, self._space = root, key, space
        self._admissions, self._address = space.admissions, space.local_address
        self._shared: set[str] = set()
        self._servers = {self._address: BlockServer(root, key, self._address)}

    @property
    def uri(self) -> str:
        """Of the server to name in locators."""
        return self._servers[self._address].uri

    def follow(self) -> bool:
        """Look whether the address is another one, if there was a new connection; True if it is."""
        admissions = self._space.admissions
        if admissions == self._admissions:
            return False
        try:
            address = self._space.local_address
            if address not in self._servers:
                self._servers[address] = self._start(address)
        except OSError as error:  # the network is not there yet
            logger.info("no block server at this machine's other address: %s", error)
            return False
        before, self._address = self._address, address
        self._admissions = admissions
        return address != before

    def _start(self, address: str) -> BlockServer:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        # Where none can be bound, Pyro would leave its own open.
        socket.create_server((address, 0), family=family).close()
        server = BlockServer(self._root, self._key, address)
        server.share(self._shared)
        return server

    def share(self, paths: Iterable[str]) -> None:
        """Hand out these input files too."""
        self._shared.update(paths)
        for server in self._servers.values():
            server.share(self._shared)

    def stop(self) -> None:
        """Close them all."""
        for server in self._servers.values():
            server.stop()


class Listing:
    """Lists an agent's block server in the space.

    Args:
        space: It. host: The agent's. server: Its; its URI may become another one.
    """

    def __init__(self, space: Space, host: str, server: Serving | BlockServer) -> None:
        self._space = space
        self._host, self._server = host, server
        self._listed = ""
        self._handle: Handle | None = None

    def renew(self) -> None:
        """List it for some seconds from now, anew if the space has forgotten it.

        Raises:
            TupleSpaceError: The space is away, or was lost.
        """
        uri = self._server.uri
        if self._handle is not None and uri == self._listed:
            with suppress(errors.LeaseExpiredError):
                self._handle.renew(SERVER_LEASE)
                return
        self.withdraw()
        self._handle = self._space.write(("blocks", self._host, uri), lease=SERVER_LEASE)
        self._listed = uri

    def withdraw(self) -> None:
        """List it no more; if the space is away, its lease ends."""
        if self._handle is not None:
            with suppress(errors.TupleSpaceError):
                self._handle.cancel()


class SearchingReader(BlockReader):
    """A reader that asks another server of the host when the one that a locator names is silent.

    Args:
        space: Where the servers are listed. host, key, near: See `BlockReader`.
    """

    def __init__(self, space: Space, host: str, key: Key, near: str = "") -> None:
        super().__init__(host, key, near)
        self._space = space
        self._moved: dict[Location, Location] = {}
        #: Whom nobody asks again: a file moves as often as its host has servers, and no more.
        self._silent: set[str] = set()

    def elsewhere(self, locations: Iterable[Location]) -> dict[Location, Location]:
        """Return where those of these files can be had that another server of their host has.

        Args:
            locations: Of files whose servers have not answered.

        Raises:
            TupleSpaceError: The space is away, or was lost.
        """
        missing = list(locations)
        self._silent.update(location.uri for location in missing)
        listed = {host: self._servers(host) for host in {each.host for each in missing}}
        found = {}
        for location in missing:
            for uri in listed[location.host]:
                moved = location._replace(uri=uri)
                if uri not in self._silent and self._has(moved):
                    found[location] = moved
                    break
        return found

    def _servers(self, host: str) -> list[str]:
        """Return them, the youngest first: of an agent that was killed the old one is listed too."""
        listed = self._space.read_all(("blocks", host, str))
        return [uri for _, _, uri in reversed(listed)]

    def _has(self, location: Location) -> bool:
        try:
            super()._ask(location, [(location.path, 0, 0)])
        except BlockLostError as error:
            if not error.answered:
                self._silent.add(location.uri)
            return False
        return True

    def _ask(self, location: Location, requests: list[tuple[str, int, int]]) -> list[bytes]:
        try:
            return super()._ask(self._moved.get(location, location), requests)
        except BlockLostError as error:
            now = self._moved.get(location, location)
            found = {} if error.answered else self.elsewhere([now])
            if now not in found:
                raise
            self._moved[location] = found[now]
        return super()._ask(self._moved[location], requests)
