"""Hosts with networks of their own, and a router between them that can lose what passes.

::

    host --cable-- router --cable-- host

    pull     the cable is out at the router: both directions, and the host's end sees no carrier
    deafen   what is sent to the host is lost on the way, and nobody is told
    mute     what the host sends is lost on the way, and nobody is told
    mend     all of it is over

Linux, and the right to make network namespaces; `Network` raises `NoNamespacesError` without.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager, suppress
from itertools import count

_CLONE_NEWNET = 0x40000000
_turns = count(1)


class NoNamespacesError(Exception):
    """This machine lets us make none."""


class Network:
    """Hosts by name; a context manager that removes them.

    Args:
        names: Of the hosts. Short: a network interface is called like its host.

    Attributes:
        address: {host: its IPv4 address}
    """

    def __init__(self, *names):
        self.address = {name: f"10.79.{number}.1" for number, name in enumerate(names, 1)}
        self._prefix = f"cut{os.getpid()}x{next(_turns)}"
        self._rules, self._stack = set(), ExitStack()

    def __enter__(self):
        if shutil.which("ip") is None:
            raise NoNamespacesError
        try:
            self._ip("netns", "add", self._space("router"))
        except subprocess.CalledProcessError as error:
            raise NoNamespacesError from error
        with ExitStack() as stack:
            stack.callback(self._remove, "router")
            with self.inside("router"), open("/proc/sys/net/ipv4/ip_forward", "w") as switch:
                switch.write("1")
            for name, address in self.address.items():
                self._ip("netns", "add", self._space(name))
                stack.callback(self._remove, name)
                self._lay_cable(name, address)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error):
        self._stack.close()

    def _ip(self, *words):
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def _on(self, name, *words):
        self._ip("-n", self._space(name), *words)

    def _space(self, name):
        return f"{self._prefix}-{name}"

    def _remove(self, name):
        self._ip("netns", "del", self._space(name))

    def _lay_cable(self, name, address):
        self._on("router", "link", "add", name, "type", "veth",
                 "peer", "name", "wire", "netns", self._space(name))  # fmt: skip
        gate = address.removesuffix(".1") + ".254"
        for where, end, its in (("router", name, gate), (name, "wire", address)):
            self._on(where, "addr", "add", f"{its}/24", "dev", end)
            self._on(where, "link", "set", "dev", end, "up")
        self._on(name, "link", "set", "dev", "lo", "up")
        self._on(name, "route", "add", "default", "via", gate)

    @contextmanager
    def inside(self, name):
        """Put this thread on a host: sockets, processes and threads that it makes meanwhile stay there."""
        with (
            open("/proc/thread-self/ns/net") as here,
            open(f"/run/netns/{self._space(name)}") as there,
        ):
            _enter(there)
            try:
                yield
            finally:
                _enter(here)

    def pull(self, name):
        """Pull the host's cable."""
        self._on("router", "link", "set", "dev", name, "down")

    def deafen(self, name):
        """Lose what is sent to the host."""
        self._add_rule(name, "to")

    def mute(self, name):
        """Lose what the host sends."""
        self._add_rule(name, "from")

    def _add_rule(self, name, direction):
        if (name, direction) not in self._rules:
            self._on("router", "rule", "add", direction, self.address[name], "blackhole")
            self._rules.add((name, direction))

    def mend(self, name):
        """Put the host's cable in again and lose nothing any more."""
        self._on("router", "link", "set", "dev", name, "up")
        for direction in ("from", "to"):
            with suppress(KeyError):
                self._rules.remove((name, direction))
                self._on("router", "rule", "del", direction, self.address[name], "blackhole")


#: The ways to cut a host off.
CUTS = {"cable": Network.pull, "one way, to it": Network.deafen, "one way, from it": Network.mute}


def _enter(file):
    # os.setns came with Python 3.12.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(file.fileno(), _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
