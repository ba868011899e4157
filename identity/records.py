"""The records of the identity service. Ids are uuid4 as 32 hexadecimal digits, but for the domain "default"."""

from __future__ import annotations

import secrets
from typing import Any, Final
from uuid import uuid4

from sqlalchemy import JSON, BigInteger, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID_LENGTH: Final = 64
NAME_LENGTH: Final = 255
DEFAULT_DOMAIN: Final = "default"
# What a grant may be on.
PROJECT: Final = "project"
DOMAIN: Final = "domain"
SYSTEM: Final = "system"
ALL: Final = "all"  # the only system there is


def new_id() -> str:
    return uuid4().hex


def new_secret() -> str:
    """Hard to guess: 43 characters that stand in URLs as they are."""
    return secrets.token_urlsafe(32)


class Record(DeclarativeBase):
    """The base of all tables."""


class DomainRecord(Record):
    """A namespace of users and projects."""

    __tablename__ = "domain"
    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    enabled: Mapped[bool] = mapped_column(default=True)
    description: Mapped[str] = mapped_column(Text, default="")


class ProjectRecord(Record):
    """What owns things; tokens are for one."""

    __tablename__ = "project"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)
    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    domain_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("domain.id", ondelete="CASCADE"))
    parent_id: Mapped[str | None] = mapped_column(String(ID_LENGTH), ForeignKey("project.id"))
    enabled: Mapped[bool] = mapped_column(default=True)
    description: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[list[str]] = mapped_column(JSON, default=list)


class UserRecord(Record):
    """Somebody who logs in. `password` is hashed; None is no password, with which nobody logs in."""

    __tablename__ = "user"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)
    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    domain_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("domain.id", ondelete="CASCADE"))
    enabled: Mapped[bool] = mapped_column(default=True)
    password: Mapped[str | None] = mapped_column(String(255))
    default_project_id: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    description: Mapped[str] = mapped_column(Text, default="")
    email: Mapped[str | None] = mapped_column(String(NAME_LENGTH))


class RoleRecord(Record):
    """What a user may be in a project, a domain or the system."""

    __tablename__ = "role"
    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    description: Mapped[str] = mapped_column(Text, default="")


class RoleGrant(Record):
    """A role that a user has: `target_kind` is PROJECT, DOMAIN or SYSTEM, `target_id` then ALL."""

    __tablename__ = "role_grant"
    user_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("user.id", ondelete="CASCADE"), primary_key=True)
    target_kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    target_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True, index=True)
    role_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("role.id", ondelete="CASCADE"), primary_key=True)


class ApplicationCredentialRecord(Record):
    """A name and secret with which a program has some of a user's roles in one project. Times are microseconds."""

    __tablename__ = "application_credential"
    __table_args__ = (UniqueConstraint("user_id", "name"),)
    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    secret: Mapped[str] = mapped_column(String(255))
    user_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("user.id", ondelete="CASCADE"))
    project_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("project.id", ondelete="CASCADE"))
    description: Mapped[str] = mapped_column(Text, default="")
    expires: Mapped[int | None] = mapped_column(BigInteger)
    unrestricted: Mapped[bool] = mapped_column(default=False)
    role_ids: Mapped[list[str]] = mapped_column(JSON)
    access_rules: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))


class CredentialRecord(Record):
    """Something secret of a user: for type "ec2" an access key. `blob` is encrypted; the id is sha256(access key)."""

    __tablename__ = "credential"
    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    type: Mapped[str] = mapped_column(String(NAME_LENGTH))
    user_id: Mapped[str] = mapped_column(String(ID_LENGTH), ForeignKey("user.id", ondelete="CASCADE"), index=True)
    project_id: Mapped[str | None] = mapped_column(
        String(ID_LENGTH), ForeignKey("project.id", ondelete="CASCADE"), index=True
    )
    application_credential_id: Mapped[str | None] = mapped_column(
        String(ID_LENGTH), ForeignKey("application_credential.id", ondelete="CASCADE")
    )
    blob: Mapped[str] = mapped_column(Text)


class RevocationRecord(Record):
    """Tokens of `subject` that were issued by then are void. The row may go once all of them have ended.

    Times are microseconds since the epoch.
    """

    __tablename__ = "revocation"
    subject: Mapped[str] = mapped_column(String(2 * ID_LENGTH + 32), primary_key=True)
    issued_by: Mapped[int] = mapped_column(BigInteger)
    needed_until: Mapped[int] = mapped_column(BigInteger, index=True)
