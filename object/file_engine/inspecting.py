"""What a file of this engine holds, wherever it lies: for operators. Reads only, and never moves what is bad."""

from __future__ import annotations

import os
from typing import Final

from xxhash import xxh3_128

from objstore.object.metadata import (
    ATTRIBUTE,
    MetadataCorrupt,
    ObjectMetadata,
    Stored,
    Trailer,
    decode,
    decode_trailer,
)
from objstore.system import xattrs

READ_BYTES: Final = 1024 * 1024


def inspect(file: str, kind: type[Stored], verify: bool) -> tuple[Stored | None, list[str]]:
    """Its metadata, None if that cannot be read, and what is wrong with it; `verify` reads the body. Raises OSError."""
    wrong: list[str] = []
    with open(file, "rb") as stream:
        try:
            metadata, trailer_bytes = _metadata(stream.fileno(), kind)
        except MetadataCorrupt as error:
            return None, [str(error)]
        if isinstance(metadata, ObjectMetadata):
            length = os.fstat(stream.fileno()).st_size - trailer_bytes
            if length != metadata.stored_size:
                wrong.append(f"the body has {length} bytes, {metadata.stored_size} were stored")
            elif verify and _checksum(stream.fileno(), length) != metadata.checksum:
                wrong.append("the body does not match its checksum")
    if not os.path.basename(file).startswith(metadata.timestamp):
        wrong.append(f"the name of the file is not of its time, {metadata.timestamp}")
    return metadata, wrong


def _metadata(descriptor: int, kind: type[Stored]) -> tuple[Stored, int]:
    found = decode(kind, xattrs.get(descriptor, ATTRIBUTE))
    if not isinstance(found, Trailer):
        return found, 0
    content = os.pread(descriptor, found.length, found.body_length)
    return decode_trailer(kind, found, content), found.length


def _checksum(descriptor: int, size: int) -> str:
    digest, offset = xxh3_128(), 0
    while offset < size and (piece := os.pread(descriptor, min(READ_BYTES, size - offset), offset)):
        digest.update(piece)
        offset += len(piece)
    return digest.hexdigest()
