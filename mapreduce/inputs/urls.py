"""Input files by URL, through fsspec: whoever reads one opens it itself.

::

    s3://bucket/logs/*.gz       https://host/data.csv       zip://*.json::s3://bucket/all.zip

Credentials and endpoints are each host's own, as fsspec and its file systems find them: in the
environment, in their configuration files, from the cloud machine. None travel with the job.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import IO, Any, Final
from urllib.parse import urlsplit

from mapreduce.errors import InputError
from workers.errors import summary
from workers.files import OpenElsewhere, open_distant

_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_FETCH_BYTES: Final = 4 << 20
_FETCH_BYTES_BEYOND: Final = 64 << 10
_STREAM_BYTES: Final = 256 << 10
_WORTH_ASKING_BYTES: Final = 64 << 10
# What tells two states of an object apart, in the words of fsspec's file systems; best first.
_VERSIONS: Final = (
    "ETag", "etag", "content_md5", "Content-MD5", "md5Hash", "generation", "mtime", "updated",
    "LastModified", "last_modified", "Last-Modified",
)  # fmt: skip


def is_url(name: str) -> bool:
    """Say whether this is a URL; a ``file://`` URL is one, too."""
    return _URL.match(name) is not None


def local_path(url: str) -> str | None:
    """Return the path that a ``file:///path`` URL is about; None for another name."""
    return url[len("file://") :] if url.lower().startswith("file:///") else None


@dataclass(frozen=True)
class UrlFile:
    """A file by its URL.

    Attributes:
        name: The URL. file_size: Its size, None if the server tells none.
        version: What the driver saw that would be another if it were changed: name and value.
        seekable: Whether the server sends any part of it.
    """

    name: str
    file_size: int | None
    version: tuple[str, str] | None
    seekable: bool

    @property
    def path(self) -> str:
        """The URL."""
        return self.name

    @property
    def suffixed(self) -> str:
        """The URL's path: what comes behind a question mark says nothing of the content."""
        link = next(link for link in self.name.split("::") if "://" in link)
        return urlsplit(link).path if link.startswith("http") else link

    def open(self, upto: int | None, elsewhere: OpenElsewhere | None) -> IO[bytes]:
        """Open it; see `InputFile`. What the server says may cost a request."""
        fs, path = _file_system(self.name)
        try:
            fs.invalidate_cache(path)
            info = fs.info(path)
            self._compare(info)
            if self.seekable:
                assert self.file_size is not None
                fetch = _Fetch(fs, path, self.file_size if upto is None else upto)
                ahead = min(_FETCH_BYTES, max(self.file_size, 1))
                return open_distant(fetch, self.file_size, ahead)
            # Else fsspec asks web servers for ranges, whether they send them or not.
            streamed = {"block_size": 0} if _is_on_the_web(path) else {}
            return io.BufferedReader(_Stream(fs.open(path, "rb", **streamed)), _STREAM_BYTES)
        except (OSError, InputError):
            raise
        except Exception as error:  # a file system raises whatever its library does
            raise OSError(summary(error)) from error

    def _compare(self, info: dict[str, Any]) -> None:
        size, version = info.get("size"), _version(info)
        same_kind = version and self.version and version[0] == self.version[0]
        if size == self.file_size and (version == self.version or not same_kind):
            return
        raise InputError(
            f"{self.name}: has changed since the job was planned ({self.file_size} bytes, "
            f"{self.version} then; {size}, {version} now): run the job again"
        )


class _Fetch:
    """Fetches parts of a file: large ones before byte ``upto``, small ones from there on."""

    def __init__(self, fs: Any, path: str, upto: int) -> None:
        self._fs, self._path, self._upto = fs, path, upto

    def __call__(self, offset: int, length: int) -> bytes:
        limit = self._upto - offset if offset < self._upto else _FETCH_BYTES_BEYOND
        length = min(length, limit, _FETCH_BYTES)
        try:
            data = bytes(self._fs.cat_file(self._path, start=offset, end=offset + length))
        except OSError:
            raise
        except Exception as error:
            raise OSError(summary(error)) from error
        if len(data) != length:
            raise OSError(f"of bytes {offset} to {offset + length} the server sent {len(data)}")
        return data


class _Stream(io.RawIOBase):
    """What a file system opened, read from start to end; all that it raises is an OSError."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes; see `io.RawIOBase.readinto`."""
        try:
            data = self._file.read(len(buffer))
        except OSError:
            raise
        except Exception as error:
            raise OSError(summary(error)) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close it; see `io.IOBase.close`."""
        if not self.closed:
            self._file.close()
        super().close()


def url_files(pattern: str) -> list[UrlFile]:
    """Look up the files of a URL or a pattern of URLs, sorted.

    Raises:
        InputError: There are none, they cannot be asked for, or a package is missing.
    """
    fs, path = _file_system(pattern)
    try:
        # In the URLs of web pages a question mark is an everyday character.
        magic = "*[" if pattern.startswith("http") else "*[?"
        is_pattern = any(character in path for character in magic)
        if is_pattern and "[" in path:
            is_pattern = not fs.isfile(path)  # "data[1].txt" can be a name, too
        infos = fs.glob(path, detail=True) if is_pattern else {path: fs.info(path)}
        if not infos:
            raise InputError(f"{pattern}: no file matches")
        files = []
        for found, info in sorted(infos.items()):
            if info.get("type") == "directory":
                if found != path:
                    continue
                raise InputError(f"{pattern}: is a directory; for its files, give {pattern}/**")
            if info.get("size") is None:
                info = fs.info(found)
            url = _url_of(found, path, pattern)
            files.append(
                UrlFile(url, info.get("size"), _version(info), _sends_parts(fs, found, info))
            )
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{pattern}: there is no such file") from error
    except Exception as error:
        raise InputError(f"{pattern}: cannot be looked up: {summary(error)}") from error
    return files


def _file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise InputError(
            f"{url}: reading from URLs takes the package fsspec, which is not installed here: "
            f"pip install 'tuplemill[remote]'"
        ) from None
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:  # fsspec says what to install
        raise InputError(f"{url}: {error}") from error
    except Exception as error:
        raise InputError(f"{url}: cannot be opened: {summary(error)}") from error
    return fs, path


def _url_of(found: str, path: str, pattern: str) -> str:
    """Return the URL of a file that a pattern has found: its path in place of the pattern's."""
    links = pattern.split("::")
    here = next(number for number, link in enumerate(links) if "://" in link)
    link = links[here]
    # What stands before the path may be a bucket's scheme or a host with its user.
    before = link.removesuffix(path) if link.endswith(path) else link.partition("://")[0] + "://"
    return "::".join((*links[:here], before + found, *links[here + 1 :]))


def _is_on_the_web(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _version(info: dict[str, Any]) -> tuple[str, str] | None:
    for key in _VERSIONS:
        if info.get(key):
            return key, str(info[key]).removeprefix("W/").strip('"')
    return None


def _sends_parts(fs: Any, path: str, info: dict[str, Any]) -> bool:
    if info.get("size") is None or info.get("partial") is False:
        return False
    if not _is_on_the_web(path):
        return True
    # A web server need not say whether it does, and for a small file it is not worth asking.
    if info["size"] < _WORTH_ASKING_BYTES:
        return False
    try:
        with fs.open(path, "rb", size=info["size"], cache_type="none") as file:
            file.seek(1)
            return len(file.read(1)) == 1
    except ValueError:
        return False
