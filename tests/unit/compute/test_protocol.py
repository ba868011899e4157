"""What the API and hosts exchange reads back as what was written."""

import msgspec

from objstore.compute.protocol import (
    FlavorCopy,
    HostInstructions,
    HostReport,
    HostTask,
    ImageSource,
    MachineAction,
    MachineSpec,
    PowerState,
)


def test_a_task_reads_back_as_it_was_written() -> None:
    spec = MachineSpec(
        server_id="s",
        name="n",
        hostname="n",
        project_id="p",
        user_id="u",
        flavor=FlavorCopy("1", "m1.tiny", 1, 64),
        image=ImageSource("i"),
        created_at="2026-01-01T00:00:00Z",
        instance_id="i-1",
    )
    sent = HostInstructions([HostTask("t", "s", MachineAction.BUILD, machine=spec)])
    assert msgspec.json.decode(msgspec.json.encode(sent), type=HostInstructions) == sent


def test_the_shortest_report_is_a_heartbeat() -> None:
    assert msgspec.json.decode(b"{}", type=HostReport) == HostReport()
    assert PowerState.SUSPENDED == 7
