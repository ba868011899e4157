"""A server's row as the protocol describes a machine."""

from __future__ import annotations

import msgspec

from objstore.compute.model.tables import ServerRow
from objstore.compute.protocol import FlavorCopy, ImageSource, MachineNetwork, MachineSpec, PublicKey

NETWORK = "private"  # the label of the one network
RESTART = "restart_elsewhere"  # a server's metadata: "true" if it shall start elsewhere when its host is lost


def machine_spec(row: ServerRow) -> MachineSpec:
    """The machine as it shall be."""
    return MachineSpec(
        server_id=row.id,
        name=row.name,
        hostname=row.hostname,
        project_id=row.project_id,
        user_id=row.user_id,
        flavor=msgspec.convert(row.flavor, FlavorCopy),
        image=msgspec.convert(row.image, ImageSource),
        created_at=f"{row.created_at:%Y-%m-%dT%H:%M:%SZ}",
        instance_id=row.instance_id,
        reservation_id=row.reservation_id,
        launch_index=row.launch_index,
        availability_zone=(row.availability_zone or "").partition(":")[0],
        config_drive=row.config_drive,
        user_data=row.user_data,
        admin_password=row.admin_password,
        keys=[PublicKey(row.key_name, row.public_key)] if row.key_name and row.public_key else [],
        metadata=row.user_metadata,
        security_groups=row.security_groups,
        networks=[MachineNetwork(NETWORK, row.mac)] if row.mac else [],
        restart_elsewhere=wants_restart(row),
    )


def wants_restart(row: ServerRow) -> bool:
    """Whether the server shall start on another host when its own is lost."""
    return row.user_metadata.get(RESTART, "").lower() == "true"
