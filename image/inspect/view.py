"""The parts of an image that formats are told by, and what makes one unsafe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from objstore.errors import StoreError

# VHDX has its metadata at 2 MiB; all other formats tell what they are earlier.
HEAD_BYTES: Final = 4 << 20
# A VMDK ends with a marker, its footer and another marker of a sector each; a fixed VHD with its one footer.
TAIL_BYTES: Final = 1536
SECTOR_BYTES: Final = 512


@dataclass(eq=False)
class UnsafeImage(StoreError):
    """The bytes of an image are not what they are said to be, or would make whoever opens them read something else."""

    message: ClassVar[str] = "{reason}"

    reason: str


@dataclass(frozen=True)
class ImageView:
    """The beginning of an image, and its end and size in bytes once they are known (before that `size` is None)."""

    head: bytes
    tail: bytes = b""
    size: int | None = None

    def has(self, offset: int, mark: bytes) -> bool:
        return self.head[offset : offset + len(mark)] == mark

    def number(self, offset: int, width: int, order: str = "big") -> int:
        """An unsigned number of the head. Raises UnsafeImage where the head ends before it."""
        return int.from_bytes(self.bytes_at(offset, width), "big" if order == "big" else "little")

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Raises UnsafeImage where the head ends before it."""
        found = self.head[offset : offset + count]
        if len(found) < count:
            raise UnsafeImage("the image ends inside its header, or has it too far from its beginning")
        return found
