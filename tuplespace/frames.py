"""Our client's calls as Pyro messages: what both ends build and take apart, byte for byte.

A call is Pyro's INVOKE of the method ``call`` of the object ``tuplespace`` with one argument,
bytes; its reply is a RESULT of bytes. Any Pyro5 would understand them; building them here
saves its dispatch, which costs as much again as the call itself.
"""

from __future__ import annotations

import struct
from typing import Final

from Pyro5 import protocol, serializers

OBJECT_NAME: Final = "tuplespace"
DEFAULT_PORT: Final = 9217
#: Bytes of a message before its payload.
HEADER_BYTES: Final = 40

_MSGPACK: Final = serializers.MsgpackSerializer.serializer_id
_HEADER: Final = struct.Struct("!4sHBBHHII16sHH")
_MAGIC: Final = 0x4DC5
_CALL_HEADER: Final = b"PYRO\x01\xf6" + bytes((protocol.MSG_INVOKE, _MSGPACK, 0, 0))
#: ("tuplespace", "call", (bytes,), {}) in msgpack, up to the bytes and after them.
_CALL_PREFIX: Final = b"\x94\xaa" + OBJECT_NAME.encode() + b"\xa4call\x91"
_CALL_SUFFIX: Final = b"\x80"
_CALL_START: Final = HEADER_BYTES + len(_CALL_PREFIX)
#: The sizes of the headers of msgpack's three bin types.
_BIN_HEADERS: Final = {0xC4: 2, 0xC5: 3, 0xC6: 5}


def call_message(sequence: int, request: bytes) -> bytes:
    """Return the message by which our client calls."""
    return _message(protocol.MSG_INVOKE, sequence, _CALL_PREFIX + _bin(request) + _CALL_SUFFIX)


def result_message(sequence: int, reply: bytes) -> bytes:
    """Return the message that answers it."""
    return _message(protocol.MSG_RESULT, sequence, _bin(reply))


def request_in(message: bytes) -> tuple[int, memoryview] | None:
    """Return the sequence number and request of a call of our client; None: another message."""
    if not message.startswith(_CALL_HEADER) or not message.startswith(_CALL_PREFIX, HEADER_BYTES):
        return None
    start = _CALL_START + _BIN_HEADERS[message[_CALL_START]]
    return message[10] << 8 | message[11], memoryview(message)[start:-1]


def reply_in(message: bytes) -> memoryview:
    """Return the reply in a result.

    Raises:
        ValueError: It is none.
    """
    size = _BIN_HEADERS.get(message[HEADER_BYTES]) if len(message) > HEADER_BYTES else None
    if size is None or message[:4] != b"PYRO" or message[6] != protocol.MSG_RESULT:
        raise ValueError("this is no reply to a call")
    return memoryview(message)[HEADER_BYTES + size :]


def message_size(message: bytes | bytearray) -> int:
    """Return how long the message is whose header this begins with."""
    return HEADER_BYTES + int.from_bytes(message[12:16], "big")


def _message(kind: int, sequence: int, payload: bytes) -> bytes:
    header = _HEADER.pack(
        b"PYRO", protocol.PROTOCOL_VERSION, kind, _MSGPACK, 0, sequence, len(payload), 0,
        bytes(16), 0, _MAGIC,
    )  # fmt: skip
    return header + payload


def _bin(data: bytes) -> bytes:
    """Return bytes as msgpack's bin type, which is how Pyro's serializer sends them."""
    size = len(data)
    if size < 1 << 8:
        return b"\xc4" + size.to_bytes(1, "big") + data
    if size < 1 << 16:
        return b"\xc5" + size.to_bytes(2, "big") + data
    return b"\xc6" + size.to_bytes(4, "big") + data
