"""The cluster key: where it lives, how both sides prove they have it, what it signs.

One symmetric key per cluster, in a 0600 file. It authenticates connections and signs every
pickle, so that nothing is unpickled that somebody without the key could have written. It does
not encrypt, and whoever has it may run code on every worker: that is what it is for.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from tuplespace.errors import AuthenticationError

KEY_FILE_VARIABLE: Final = "TUPLESPACE_KEY_FILE"
_KEY_BYTES: Final = 32
_MAC_BYTES: Final = 32
#: What is behind a signature: which one it is, and its bytes.
_HEAD_BYTES: Final = 1 + _MAC_BYTES
_BLAKE, _HMAC = b"b", b"h"
#: Keyed BLAKE2b (RFC 7693) is several times as fast as HMAC-SHA256 up to about this size; beyond
#: it is half as fast where the processor knows SHA.
_BLAKE_LIMIT: Final = 1 << 12
#: Up to this size one call over a copy is faster than two calls without.
_COPY_LIMIT: Final = 1 << 16


class Key:
    """A cluster key.

    Attributes:
        path: The file it came from, None for one made for this process.
    """

    __slots__ = ("_blake", "_secrets", "path")

    def __init__(self, secret: bytes, path: Path | None = None) -> None:
        self.path = path
        self._secrets = {
            purpose: hmac.digest(secret, purpose.encode(), "sha256")
            for purpose in ("connect", "proxy", "ring", "seal", "seal-small")
        }
        # Copied for each signature: that is cheaper than to begin with the key.
        self._blake = hashlib.blake2b(
            key=self._secrets["seal-small"], digest_size=_MAC_BYTES, person=b"seal"
        )

    def proof(self, role: str, *nonces: str) -> str:
        """Return what only a holder of the key can answer to these nonces."""
        message = "\0".join((role, *nonces)).encode()
        return hmac.digest(self._secrets["connect"], message, "sha256").hex()

    def ticket(self, nonce: str) -> str:
        """Return what a stock proxy shows: proof without challenge, so it can be replayed."""
        return hmac.digest(self._secrets["proxy"], nonce.encode(), "sha256").hex()

    def sign_answer(self, answer: bytes) -> bytes:
        """Return the signature of an answer of the ring; see `discovery`."""
        return hmac.digest(self._secrets["ring"], answer, "sha256")

    def signed_answer(self, answer: bytes, signature: bytes) -> bool:
        """Say whether a holder of this key gave this answer."""
        return hmac.compare_digest(signature, self.sign_answer(answer))

    def seal(self, context: str, body: bytes) -> bytes:
        """Return the body behind a signature that binds it to this context."""
        kind = _BLAKE if len(body) <= _BLAKE_LIMIT else _HMAC
        return kind + self._mac(kind, context, body) + body

    def unseal(self, context: str, sealed: bytes) -> bytes:
        """Return the body.

        Raises:
            AuthenticationError: It was not sealed with this key for this context; nothing in it
                may be trusted, least of all unpickled.
        """
        kind, body = sealed[:1], sealed[_HEAD_BYTES:]
        mac = self._mac(kind, context, body)
        if not hmac.compare_digest(sealed[1:_HEAD_BYTES], mac):
            raise AuthenticationError(
                "a signature is wrong: this was written with another cluster key, or changed on "
                f"the way ({context})"
            )
        return body

    def _mac(self, kind: bytes, context: str, body: bytes) -> bytes:
        """Return the signature of this kind; each has a key of its own and signs its kind too."""
        scope = kind + context.encode() + b"\0"
        if kind == _BLAKE:
            small = self._blake.copy()
            small.update(scope + body)
            return small.digest()
        if len(body) < _COPY_LIMIT:
            return hmac.digest(self._secrets["seal"], scope + body, "sha256")
        mac = hmac.new(self._secrets["seal"], scope, "sha256")
        mac.update(body)
        return mac.digest()


def same(proof: object, expected: str) -> bool:
    """Compare a proof in constant time; anything but a str is wrong."""
    return isinstance(proof, str) and hmac.compare_digest(proof.encode(), expected.encode())


def nonce() -> str:
    """Return a fresh unguessable str."""
    return secrets.token_hex(16)


def key_path(key_file: str | os.PathLike[str] | None = None) -> Path:
    """Return where the key is looked for: the argument, $TUPLESPACE_KEY_FILE, the user's folder."""
    if key_file is None:
        key_file = os.environ.get(KEY_FILE_VARIABLE) or None
    if key_file is not None:
        return Path(key_file).expanduser()
    return data_folder() / "cluster.key"


def data_folder() -> Path:
    """Return the user's folder for what is to stay: the key, and what spaces keep."""
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "tuplemill"


def load_key(key_file: str | os.PathLike[str] | None = None) -> Key:
    """Read the cluster key.

    Raises:
        AuthenticationError: There is none, it is open to others, or it is no key.
    """
    path = key_path(key_file)
    hint = f"name another with --key-file or ${KEY_FILE_VARIABLE}"
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        raise AuthenticationError(
            f"no cluster key at {path}; `invoke tuplespace` makes one there; on another machine, "
            f"copy it from the space's, or {hint}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise AuthenticationError(f"cannot read the cluster key {path}: {error}; {hint}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise AuthenticationError(
            f"the cluster key {path} is open to other users; run: chmod 600 {path}"
        )
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != _KEY_BYTES:
        raise AuthenticationError(f"{path} holds no cluster key (64 hex digits); {hint}")
    return Key(secret, path)


def make_key(key_file: str | os.PathLike[str] | None = None) -> Key:
    """Read the cluster key, making it first if there is none.

    Race-free: of several processes one makes it and all read the same.

    Raises:
        AuthenticationError: As `load_key`, or the file cannot be made.
    """
    path = key_path(key_file)
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with open(descriptor, "w", encoding="ascii") as file:
                    file.write(secrets.token_hex(_KEY_BYTES) + "\n")
                # A link fails where the name is taken, and shows the file only when it is whole.
                with contextlib.suppress(FileExistsError):
                    os.link(draft, path)
            finally:
                draft.unlink()
        except OSError as error:
            raise AuthenticationError(
                f"cannot make a cluster key at {path}: {error}; name another file with --key-file "
                f"or ${KEY_FILE_VARIABLE}"
            ) from None
    return load_key(path)


def throwaway_key() -> Key:
    """Return a key that lives and dies with this process."""
    return Key(secrets.token_bytes(_KEY_BYTES))


def handshake(key_file: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Return what lets a stock ``Pyro5.api.Proxy`` in: set it as ``proxy._pyroHandshake``.

    Unlike the challenge that `tuplespace.connect` answers, it can be replayed by someone who
    reads the network.

    Raises:
        AuthenticationError: As `load_key`.
    """
    once = nonce()
    return {"nonce": once, "ticket": load_key(key_file).ticket(once)}
