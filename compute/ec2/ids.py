"""Ids in the form of the EC2 API: a kind and 17 hexadecimal digits of the UUID, kept so that they lead back."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session as SqlSession

from objstore.compute.core.context import ComputeContext
from objstore.compute.ec2.messages import ec2_fault
from objstore.compute.errors import no_such
from objstore.compute.model.tables import Ec2IdRow, ServerRow

FORM: Final = re.compile(r"([a-z]+)-([0-9a-f]{8}|[0-9a-f]{17})")


def ec2_id(kind: str, uuid: str) -> str:
    return f"{kind}-{uuid.replace('-', '')[:17]}"


def remember(context: ComputeContext, kind: str, uuids: list[str]) -> dict[str, str]:
    """The ids of things that are no servers, by their UUIDs; those that are new are kept."""
    wanted = {uuid: ec2_id(kind, uuid) for uuid in uuids}

    def known(session: SqlSession) -> set[str]:
        return set(session.scalars(select(Ec2IdRow.ec2_id).where(Ec2IdRow.ec2_id.in_(wanted.values()))))

    missing = set(wanted.values()) - context.read(known)
    if missing:

        def keep(session: SqlSession) -> None:
            for uuid, name in wanted.items():
                if name in missing and session.get(Ec2IdRow, name) is None:
                    session.add(Ec2IdRow(ec2_id=name, uuid=uuid))

        context.run(keep)
    return wanted


def checked(kind: str, name: str, malformed: str) -> str:
    """Raises Fault for what cannot be an id of this kind."""
    match = FORM.fullmatch(name)
    if match is None or match[1] != kind:
        raise ec2_fault(malformed, f'Invalid id: "{name[:64]}" (expecting "{kind}-...")')
    return name


def image_uuid(session: SqlSession, name: str) -> str:
    """The UUID of an image that this API has named before. Raises Fault, NoSuch."""
    checked("ami", name, "InvalidAMIID.Malformed")
    row = session.get(Ec2IdRow, name)
    if row is None:
        raise no_such("image", name)
    return row.uuid


def server_of(session: SqlSession, project_id: str, name: str) -> ServerRow:
    """A server of the project by its instance id. Raises Fault, NoSuch."""
    checked("i", name, "InvalidInstanceID.Malformed")
    found = select(ServerRow).where(ServerRow.instance_id == name, ServerRow.project_id == project_id)
    row = session.scalars(found).one_or_none()
    if row is None:
        raise no_such("instance", name)
    return row
