"""Checksums of objects: taken in while a body passes through, compared with what its sender says, stored beside it.

They are in the system metadata, by algorithm: `Checksum-Sha256: BASE64`, or `BASE64-N` for one over those of N parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import md5
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from objstore.checksums import Algorithm, Checksums, Chunk, is_composite_value
from objstore.proxy.core.backend.names import CHECKSUM_PREFIX, LISTED_ETAG, SYSTEM
from objstore.proxy.core.errors import ChecksumMismatch
from objstore.proxy.core.listing import ListedObject
from objstore.rows import etag_with_fields

if TYPE_CHECKING:
    from objstore.proxy.core.objects import PutObject

_NAMES: Final = {algorithm: f"{CHECKSUM_PREFIX}{algorithm.title()}" for algorithm in Algorithm}
_ALGORITHMS: Final = {name: algorithm for algorithm, name in _NAMES.items()}


class WantedChecksums(Struct, frozen=True):
    """What is to be computed of a body beside its MD5, of which the ETag is made.

    kept: stored with the object, and given back; `listed`, by its container too. checked: only compared. `expected`
    says what any of them have to be; it is called once the body has ended, since some come after it. fields: what the
    container lists with the object besides.
    """

    kept: tuple[Algorithm, ...] = ()
    checked: tuple[Algorithm, ...] = ()
    expected: Callable[[], Mapping[Algorithm, str]] = dict
    listed: bool = False
    fields: Mapping[str, str] = {}


class PutDigest(Protocol):
    """Takes in what is sent of a PUT, chunk by chunk, and says what is stored beside it."""

    def update(self, chunk: Chunk) -> None: ...

    def finish(self) -> tuple[str, dict[Algorithm, str]]: ...

    def headers(self, etag: str, kept: Mapping[Algorithm, str]) -> dict[str, str]: ...


class BodyDigest:
    """The ETag and the checksums of the body of a PUT; chunks may be taken in on a thread."""

    __slots__ = ("_checksums", "_expected_md5", "_md5", "_wanted")

    def __init__(self, command: PutObject) -> None:
        wanted = command.checksums
        self._md5 = md5(usedforsecurity=False)
        self._expected_md5 = command.expected_md5
        self._wanted = wanted
        self._checksums = None if wanted is None else Checksums((*wanted.kept, *wanted.checked))

    def update(self, chunk: Chunk) -> None:
        """Take in what comes next."""
        self._md5.update(chunk)
        if self._checksums is not None:
            self._checksums.update(chunk)

    def finish(self) -> tuple[str, dict[Algorithm, str]]:
        """The ETag, and the checksums to keep. Raises ChecksumMismatch."""
        etag, expected_md5 = self._md5.hexdigest(), self._expected_md5
        if expected_md5 and expected_md5 != etag:
            raise ChecksumMismatch(expected_md5, etag)
        wanted, checksums = self._wanted, self._checksums
        if wanted is None or checksums is None:
            return etag, {}
        values = checksums.values()
        for algorithm, expected in wanted.expected().items():
            if expected != values[algorithm]:
                raise ChecksumMismatch(expected, values[algorithm], algorithm)
        return etag, {algorithm: values[algorithm] for algorithm in wanted.kept}

    def headers(self, etag: str, kept: Mapping[Algorithm, str]) -> dict[str, str]:
        """The headers that store what `finish` has given beside the ETag itself."""
        if not kept:
            return {}
        headers = {SYSTEM + name: value for name, value in checksum_metadata(kept).items()}
        wanted = self._wanted
        if wanted is not None and wanted.listed:
            values = ",".join(f"{algorithm}={value}" for algorithm, value in kept.items())
            headers[SYSTEM + LISTED_ETAG] = etag_with_fields(etag, {"checksums": values})
        elif wanted is not None and wanted.fields:
            headers[SYSTEM + LISTED_ETAG] = etag_with_fields(etag, wanted.fields)
        return headers


def digest_of(command: PutObject) -> PutDigest:
    """What takes in the body that is sent: its own digest or, of an encrypted form, what has taken in the body."""
    return command.digest or BodyDigest(command)


def checksum_metadata(checksums: Mapping[Algorithm, str]) -> dict[str, str]:
    """The system metadata that holds them."""
    return {_NAMES[algorithm]: value for algorithm, value in checksums.items()}


def stored_checksums(system: Mapping[str, str]) -> dict[Algorithm, str]:
    """Those of an object with this system metadata."""
    return {_ALGORITHMS[name]: value for name, value in system.items() if name in _ALGORITHMS}


def listed_checksums(listed: ListedObject) -> dict[Algorithm, str]:
    """Those of an object that its container lists with them."""
    pairs = (each.partition("=") for each in listed.checksums.split(",") if each)
    return {Algorithm(name): value for name, _, value in pairs}


def copied_checksums(system: Mapping[str, str], *, whole: bool) -> dict[str, str]:
    """The system metadata of a copy, which is an object of one part: only what is true of its body stays."""
    return {
        name: value
        for name, value in system.items()
        if name not in _ALGORITHMS or (whole and not is_composite_value(value))
    }
