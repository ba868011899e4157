"""What can be wrong with a request to compute. Both APIs say it in their own words, each by one table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from objstore.errors import StoreError


@dataclass(eq=False)
class ComputeError(StoreError):
    """A request that is not carried out; `reason` is for whoever sent it."""

    message: ClassVar[str] = "{reason}"

    reason: str


class InvalidRequest(ComputeError):
    """Nothing that can be done as it is asked for."""


class NotPermitted(ComputeError):
    """The caller may not do it."""


class OverQuota(ComputeError):
    """It would exceed a limit of the project or the user."""


class StateConflict(ComputeError):
    """It cannot be done in the state things are in, or has been done by somebody else meanwhile."""


class AlreadyExists(StateConflict):
    """There is one of this name."""


class NotOffered(ComputeError):
    """No host, or not the server's, has what it takes."""


class ImageServiceFailed(ComputeError):
    """The image service does not answer, or not as it should."""


@dataclass(eq=False)
class NoSuch(ComputeError):
    """What is named is not there, or not the caller's to see. `kind` is "server", "flavor", "key pair" ..."""

    kind: str = ""


def no_such(kind: str, name: str) -> NoSuch:
    """The error for a name that leads to nothing."""
    return NoSuch(f"{kind.capitalize()} {name[:255]} could not be found.", kind)
