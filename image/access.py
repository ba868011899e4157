"""Who may see an image, and who may do what to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from objstore.errors import StoreError
from objstore.image.model import statuses
from objstore.image.records import ImageRecord


class ImageCaller(Protocol):
    """What access depends on."""

    @property
    def project_id(self) -> str | None: ...
    @property
    def roles(self) -> frozenset[str]: ...
    @property
    def is_admin(self) -> bool: ...
    @property
    def is_service(self) -> bool: ...


READER: Final = "reader"
UNFILLED: Final = frozenset({statuses.QUEUED, statuses.SAVING})
SNAPSHOTS: Final = frozenset({"snapshot", "backup"})


@dataclass(eq=False)
class ImageNotFound(StoreError):
    """There is no such image, or none that the caller may see."""

    message = "No image found with ID {image_id}"

    image_id: str


@dataclass(eq=False)
class NotAllowed(StoreError):
    """The caller may see the image, but not do this."""

    message = "{reason}"

    reason: str


def may_see(caller: ImageCaller, image: ImageRecord) -> bool:
    if caller.is_admin or caller.is_service or image.visibility in ("public", "community"):
        return True
    if image.owner is not None and image.owner == caller.project_id:
        return True
    return image.visibility == "shared" and any(each.member == caller.project_id for each in image.members)


def check_writer(caller: ImageCaller) -> None:
    """Raises NotAllowed for a caller whose only role is to read."""
    if not caller.roles - {READER}:
        raise NotAllowed("You are not authorized to complete this action: it needs the role of a member.")


def check_owner(caller: ImageCaller, image: ImageRecord) -> None:
    """Raises NotAllowed for a caller who neither owns the image nor is an administrator.

    A service fills the snapshots that were made for it to fill, and removes those it could not fill.
    """
    if caller.is_service and image.status in UNFILLED and image.noted("image_type") in SNAPSHOTS:
        return
    check_writer(caller)
    if not caller.is_admin and (image.owner is None or image.owner != caller.project_id):
        raise NotAllowed(f"You are not permitted to modify image {image.id}: another project owns it.")


def check_admin(caller: ImageCaller) -> None:
    """Raises NotAllowed."""
    if not caller.is_admin:
        raise NotAllowed("You are not authorized to complete this action: it needs an administrator.")


def check_service(caller: ImageCaller) -> None:
    """Raises NotAllowed."""
    if not (caller.is_service or caller.is_admin):
        raise NotAllowed("You are not authorized to complete this action: it needs a service.")


def check_data(caller: ImageCaller, image: ImageRecord) -> None:
    """Raises NotAllowed for the bytes of an image that is deactivated."""
    if image.status == statuses.DEACTIVATED and not caller.is_admin:
        raise NotAllowed("The requested image has been deactivated. Image data download is forbidden.")
