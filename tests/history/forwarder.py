"""A network that breaks: connections cut when nothing, a request or a reply passes."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Forwarder:
    """A TCP forwarder that can cut its connections, at once or when something passes."""

    def __init__(self, port):
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._partners, self._upward = {}, set()
        self._lock = threading.Lock()
        self.cut_after_request = self.cut_instead_of_reply = self.refuse = False
        self.cuts = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def cut_all(self):
        with self._lock:
            for sock in list(self._partners):
                self._cut(sock)

    def stop(self):
        self._stopping = True
        self._thread.join()
        self.cut_all()
        self._selector.close()
        self._listener.close()

    def _cut(self, sock):
        partner = self._partners.pop(sock, None)
        if partner is not None:
            del self._partners[partner]
            for each in (sock, partner):
                self._selector.unregister(each)
                each.close()
            self.cuts += 1

    def _run(self):
        while not self._stopping:
            for key, _ in self._selector.select(0.02):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self._partners:
                        self._forward(key.fileobj)

    def _accept(self):
        near, _ = self._listener.accept()
        if self.refuse:
            near.close()
            return
        far = socket.create_connection(("127.0.0.1", self._target))
        self._partners[near], self._partners[far] = far, near
        self._upward.add(near)
        self._selector.register(near, selectors.EVENT_READ)
        self._selector.register(far, selectors.EVENT_READ)

    def _forward(self, sock):
        partner, upward = self._partners[sock], sock in self._upward
        try:
            data = sock.recv(1 << 20)
        except OSError:
            data = b""
        if not data or (self.cut_instead_of_reply and not upward):
            self.cut_instead_of_reply = False
            self._cut(sock)
            return
        with contextlib.suppress(OSError):
            partner.sendall(data)
        if upward and self.cut_after_request:
            self.cut_after_request = False
            self._cut(sock)
