"""What can go wrong with rings."""

from dataclasses import dataclass

from objstore.errors import StoreError


@dataclass(eq=False)
class RingFileError(StoreError):
    """A ring or builder file cannot be read or written."""

    path: str
    reason: str

    message = "{path}: {reason}"


@dataclass(eq=False)
class RingMissing(RingFileError):
    reason: str = "no such ring file; build and distribute the ring first"


@dataclass(eq=False)
class BuilderError(StoreError):
    """A change of a ring that cannot be done; nothing was changed."""

    reason: str

    message = "{reason}"


def require(holds: bool, otherwise: str) -> None:
    """Raises BuilderError with the reason `otherwise` unless the condition holds."""
    if not holds:
        raise BuilderError(otherwise)
