"""The tables of the image service. Times are microseconds since 1970, so that every database keeps their order."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

BINARY: Final = "utf8mb4_bin"  # elsewhere text differs where its bytes do


def text(length: int) -> Any:
    """A text that is compared byte by byte in every database."""
    return String(length).with_variant(mysql.VARCHAR(length, collation=BINARY), "mysql", "mariadb")


LONG_TEXT: Final = Text().with_variant(mysql.MEDIUMTEXT(collation=BINARY), "mysql", "mariadb")


class ImageTables(DeclarativeBase):
    """All tables of the service."""


class ImageProperty(ImageTables):
    """A property that a user gave an image, or a note of the service's own (os_glance_...)."""

    __tablename__ = "image_properties"
    image_id: Mapped[str] = mapped_column(text(36), ForeignKey("images.id"), primary_key=True)
    name: Mapped[str] = mapped_column(text(255), primary_key=True)
    value: Mapped[str] = mapped_column(LONG_TEXT)


class ImageTag(ImageTables):
    """A tag of an image."""

    __tablename__ = "image_tags"
    image_id: Mapped[str] = mapped_column(text(36), ForeignKey("images.id"), primary_key=True)
    value: Mapped[str] = mapped_column(text(255), primary_key=True)


class ImageMember(ImageTables):
    """A project that an image is shared with, and whether that project wants to see it in its lists."""

    __tablename__ = "image_members"
    image_id: Mapped[str] = mapped_column(text(36), ForeignKey("images.id"), primary_key=True)
    member: Mapped[str] = mapped_column(text(255), primary_key=True, index=True)
    status: Mapped[str] = mapped_column(text(16), default="pending")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class ImageData(ImageTables):
    """Bytes of an image in one store, under a name of their own that no other bytes ever have.

    A row is there before the first byte is, and goes after the last one is gone: no bytes are ever in a store without
    it. `state` is one of STATES; while it is "writing" some process renews `touched_at`. `purpose` is "data", or
    "stage" for what waits to be imported.
    """

    __tablename__ = "image_data"
    id: Mapped[str] = mapped_column(text(36), primary_key=True)
    image_id: Mapped[str] = mapped_column(text(36), ForeignKey("images.id"), index=True)
    owner: Mapped[str | None] = mapped_column(text(255), index=True)
    store: Mapped[str] = mapped_column(text(64))
    purpose: Mapped[str] = mapped_column(text(8))
    state: Mapped[str] = mapped_column(text(16), index=True)
    touched_at: Mapped[int] = mapped_column(BigInteger)
    size: Mapped[int] = mapped_column(BigInteger, default=0)
    checksum: Mapped[str | None] = mapped_column(text(32))
    os_hash_value: Mapped[str | None] = mapped_column(text(128))


class ImageUse(ImageTables):
    """Somebody whose disks rest on an image's bytes: a machine's overlay, for instance."""

    __tablename__ = "image_uses"
    image_id: Mapped[str] = mapped_column(text(36), ForeignKey("images.id"), primary_key=True)
    user: Mapped[str] = mapped_column(text(255), primary_key=True)


class MetadataDefinition(ImageTables):
    """A namespace of metadata definitions, or one of its objects, properties, tags or resource types.

    `name` is "" for the namespace itself; `document` is JSON of what its maker said of it.
    """

    __tablename__ = "image_definitions"
    namespace: Mapped[str] = mapped_column(text(80), primary_key=True)
    kind: Mapped[str] = mapped_column(text(16), primary_key=True)
    name: Mapped[str] = mapped_column(text(80), primary_key=True)
    owner: Mapped[str | None] = mapped_column(text(255))
    visibility: Mapped[str] = mapped_column(text(16))
    document: Mapped[str] = mapped_column(LONG_TEXT)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)


class ImageTask(ImageTables):
    """An import, running or ended. `input` and `result` are JSON."""

    __tablename__ = "image_tasks"
    id: Mapped[str] = mapped_column(text(36), primary_key=True)
    image_id: Mapped[str | None] = mapped_column(text(36), index=True)
    type: Mapped[str] = mapped_column(text(32))
    status: Mapped[str] = mapped_column(text(16), index=True)
    owner: Mapped[str | None] = mapped_column(text(255))
    user_id: Mapped[str | None] = mapped_column(text(255))
    request_id: Mapped[str] = mapped_column(text(64))
    input: Mapped[str] = mapped_column(LONG_TEXT)
    result: Mapped[str] = mapped_column(LONG_TEXT, default="null")
    message: Mapped[str] = mapped_column(LONG_TEXT, default="")
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    touched_at: Mapped[int] = mapped_column(BigInteger)


class ImageRecord(ImageTables):
    """An image; one that is deleted keeps its row for a while, so that its id is not taken again."""

    __tablename__ = "images"
    __table_args__ = (Index("images_in_order", "created_at", "id"),)
    id: Mapped[str] = mapped_column(text(36), primary_key=True)
    name: Mapped[str | None] = mapped_column(text(255), index=True)
    status: Mapped[str] = mapped_column(text(16), index=True)
    visibility: Mapped[str] = mapped_column(text(16), index=True)
    owner: Mapped[str | None] = mapped_column(text(255), index=True)
    checksum: Mapped[str | None] = mapped_column(text(32))
    os_hash_value: Mapped[str | None] = mapped_column(text(128))
    size: Mapped[int | None] = mapped_column(BigInteger)
    virtual_size: Mapped[int | None] = mapped_column(BigInteger)
    min_ram: Mapped[int] = mapped_column(Integer, default=0)
    min_disk: Mapped[int] = mapped_column(Integer, default=0)
    disk_format: Mapped[str | None] = mapped_column(text(16))
    container_format: Mapped[str | None] = mapped_column(text(16))
    protected: Mapped[bool] = mapped_column(default=False)
    os_hidden: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    properties: Mapped[list[ImageProperty]] = relationship(cascade="all, delete-orphan", lazy="selectin")
    tags: Mapped[list[ImageTag]] = relationship(cascade="all, delete-orphan", lazy="selectin", order_by=ImageTag.value)
    members: Mapped[list[ImageMember]] = relationship(cascade="all, delete-orphan", order_by=ImageMember.created_at)
    data: Mapped[list[ImageData]] = relationship(
        cascade="all, delete-orphan", lazy="selectin", order_by=(ImageData.store, ImageData.id)
    )
    uses: Mapped[list[ImageUse]] = relationship(cascade="all, delete-orphan")

    @property
    def kept_data(self) -> list[ImageData]:
        """Where its bytes are, each row a whole copy."""
        return [each for each in self.data if each.state == KEPT and each.purpose == DATA]

    @property
    def staged(self) -> list[ImageData]:
        """The bytes that wait to be imported: one row or none."""
        return [each for each in self.data if each.state == KEPT and each.purpose == STAGE]

    def noted(self, name: str) -> str:
        """The value of a property, "" if there is none."""
        return next((each.value for each in self.properties if each.name == name), "")

    def note(self, name: str, value: str | None) -> None:
        """Set a property, or remove it for None."""
        found = next((each for each in self.properties if each.name == name), None)
        if value is None and found is not None:
            self.properties.remove(found)
        elif value is not None and found is not None:
            found.value = value
        elif value is not None:
            self.properties.append(ImageProperty(name=name, value=value))


WRITING: Final = "writing"
KEPT: Final = "kept"
DISCARDED: Final = "discarded"  # to be removed from the store, and then the row
STATES: Final = (WRITING, KEPT, DISCARDED)
DATA: Final = "data"
STAGE: Final = "stage"
