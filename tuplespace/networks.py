"""The networks of this machine, and how to send a datagram to everybody on them."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

_GROUP4: Final = "239.255.92.17"  # administratively scoped: it stays in the house
_GROUP6: Final = "ff12::9217"  # the link's
_EVERYBODY: Final = "255.255.255.255"


class Place(NamedTuple):
    """An interface, with one of its addresses.

    Attributes:
        family: Of the address. interface: Its index. broadcast: "" if there is none.
    """

    family: int
    address: str
    interface: int
    broadcast: str

    def join(self, sock: socket.socket) -> None:
        """Let the socket hear what is sent to our multicast group there, if the system can."""
        with contextlib.suppress(OSError):  # joined from before, or one too many
            if self.family == socket.AF_INET:
                request = socket.inet_aton(_GROUP4) + socket.inet_aton(self.address)
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            else:
                group = socket.inet_pton(socket.AF_INET6, _GROUP6)
                request = group + struct.pack("@I", self.interface)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)

    def send(self, sock: socket.socket, datagram: bytes, port: int) -> None:
        """Send to whoever listens there."""
        if self.family == socket.AF_INET6:
            _send(sock, datagram, (_GROUP6, port, 0, self.interface))
            return
        from_here = socket.inet_aton(self.address)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, from_here)
            _send(sock, datagram, (_GROUP4, port))
        if self.broadcast:
            _send(sock, datagram, (self.broadcast, port))
        if is_loopback(self.address):  # not every system has more there than this
            _send(sock, datagram, (self.address, port))


def places(loopback_only: bool = False) -> Iterator[Place]:
    """Return the places of this machine; of an interface's IPv6 addresses one stands for all."""
    try:
        import ifaddr  # what starts without asking starts faster

        adapters = list(ifaddr.get_adapters())
    except OSError:  # out of file descriptors, say: others may be let go soon
        return
    for adapter in adapters:
        index, has_six = adapter.index or 0, False
        for each in adapter.ips:
            host = each.ip if isinstance(each.ip, str) else each.ip[0]
            if loopback_only and not is_loopback(host):
                continue
            if each.is_IPv4:
                network = ipaddress.IPv4Interface(f"{host}/{each.network_prefix}").network
                broadcast = str(network.broadcast_address) if network.prefixlen < 31 else ""
                yield Place(socket.AF_INET, host, index, broadcast)
            elif not has_six:
                has_six = True
                yield Place(socket.AF_INET6, host, index, "")


def send_everywhere(
    socks: Iterable[socket.socket], datagram: bytes, port: int, loopback_only: bool = False
) -> None:
    """Send a datagram from these UDP sockets to every place of their families; wait for nothing."""
    by_family = {sock.family: sock for sock in socks}
    for place in places(loopback_only):
        if place.family in by_family:
            place.send(by_family[socket.AddressFamily(place.family)], datagram, port)
    if not loopback_only and socket.AF_INET in by_family:
        _send(by_family[socket.AF_INET], datagram, (_EVERYBODY, port))


def is_loopback(host: str) -> bool:
    """Say whether this is one of the addresses that only this machine can reach.

    Args:
        host: An IP address, or "localhost"; any other name is not resolved, and is none.
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_of(address: tuple[Any, ...]) -> str:
    """Return the host of a socket's address, with its scope if it is a link's.

    The scope is a number, since Pyro's URIs take no names of interfaces; it means something on
    this machine only.
    """
    host = str(address[0]).partition("%")[0]
    return f"{host}%{address[3]}" if len(address) == 4 and address[3] else host


def address_for_others() -> str:
    """Return an address of this machine that others may reach; "" if it has none.

    That of the default route if there is one; nothing is sent.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.connect(("192.0.2.1", 9))
        return str(sock.getsockname()[0])
    others = sorted(place for place in places() if not is_loopback(place.address))
    return next((_scoped(place) for place in others), "")  # IPv4 before IPv6


def _scoped(place: Place) -> str:
    is_link_local = ipaddress.ip_address(place.address).is_link_local
    return (
        f"{place.address}%{place.interface}"
        if is_link_local and ":" in place.address
        else place.address
    )


def _send(sock: socket.socket, datagram: bytes, address: tuple[str | int, ...]) -> None:
    with contextlib.suppress(OSError):  # it is down, or has no way for such datagrams
        sock.sendto(datagram, address)
