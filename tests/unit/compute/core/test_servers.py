"""Servers from their creation to their end, with hosts that do as they are told, fail, or are lost."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from objstore.compute.core import actions, hosts, metering
from objstore.compute.errors import InvalidRequest, NoSuch, OverQuota, StateConflict
from objstore.compute.model.tables import HostRow, UsageRow
from objstore.compute.protocol import MachineAction, MachineReport, PowerState
from tests.unit.compute.world import START, CellWorld, ObedientHost, PlainUser


def used(world: CellWorld, host: ObedientHost) -> tuple[int, int, int, int]:
    with world.sql.reading() as session:
        row = session.get_one(HostRow, host.id)
        return row.vcpus_used, row.ram_mb_used, row.servers, row.building


def test_a_server_is_placed_built_and_deleted(world: CellWorld, host: ObedientHost) -> None:
    server = world.create()
    assert (world.server(server).vm_state, world.server(server).task_state) == ("building", "scheduling")
    world.placer.step()
    assert used(world, host) == (1, 512, 1, 1)
    host.work()
    row = world.server(server)
    assert (row.vm_state, row.task_state, row.power_state) == ("active", None, 1)
    assert row.addresses[0]["address"] == "10.0.2.15"
    assert row.admin_password is None
    actions.delete(world.context, world.user, server, "req-2")
    assert world.server(server).task_state == "deleting"
    host.work()
    assert world.server(server).vm_state == "deleted"
    assert used(world, host) == (0, 0, 0, 0)
    with pytest.raises(NoSuch):
        actions.delete(world.context, world.user, server, "req-3")


@pytest.mark.parametrize(
    ("key", "state"),
    [
        ("os-stop", "stopped"),
        ("pause", "paused"),
        ("suspend", "suspended"),
        ("rescue", "rescued"),
        ("reboot", "active"),
    ],
)
def test_actions_lead_where_the_table_says(world: CellWorld, host: ObedientHost, key: str, state: str) -> None:
    server = world.active(host)
    actions.act(world.context, world.user, server, key, "req-2")
    with pytest.raises(StateConflict):  # it is busy
        actions.act(world.context, world.user, server, key, "req-3")
    host.work()
    assert (world.server(server).vm_state, world.server(server).task_state) == (state, None)


def test_a_failed_action_leaves_the_state_and_a_fault(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    host.fail[MachineAction.PAUSE] = "no"
    actions.act(world.context, world.user, server, "pause", "req-2")
    host.work()
    row = world.server(server)
    assert (row.vm_state, row.task_state, row.fault and row.fault["message"]) == ("active", None, "no")


def test_a_build_is_tried_on_other_hosts(world: CellWorld, host: ObedientHost) -> None:
    others = [host, ObedientHost(world, "host-2"), ObedientHost(world, "host-3"), ObedientHost(world, "host-4")]
    for each in others:
        each.fail[MachineAction.BUILD] = "broken"
    server = world.create()
    for _ in range(4):
        world.placer.step()
        for each in others:
            each.work()
    row = world.server(server)
    assert row.vm_state == "error"
    assert row.fault is not None and row.fault["message"] == "Build failed on 3 of 3 tries; the last: broken"
    assert sum(len(each.done) for each in others) == 3
    assert all(used(world, each) == (0, 0, 0, 0) for each in others)


def test_no_valid_host_says_why(world: CellWorld, host: ObedientHost) -> None:
    ObedientHost(world, "small", ram_mb=600)
    server = world.create(flavor_id="2")
    world.sql.run(lambda session: setattr(session.get_one(HostRow, host.id), "enabled", False))
    world.placer.step()
    fault = world.server(server).fault
    assert fault is not None
    assert fault["message"] == "No valid host was found. Of 2 hosts: 1 disabled, 1 without 2048 MB of free memory."


def test_a_request_that_is_wrong_makes_nothing(world: CellWorld, host: ObedientHost) -> None:
    for wrong in ({"flavor_id": "9"}, {"key_name": "none"}, {"user_data": "%"}, {"availability_zone": "moon"}):
        with pytest.raises(InvalidRequest):
            world.create(**wrong)
    with pytest.raises(NoSuch):
        world.create(image_id="none")
    with pytest.raises(OverQuota):
        world.create(min_count=11, max_count=11)
    world.create(min_count=1, max_count=12)
    with pytest.raises(OverQuota):
        world.create()


def test_another_project_sees_nothing(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    with pytest.raises(NoSuch):
        actions.delete(world.context, PlainUser(project_id="other"), server, "req-2")


def test_a_snapshot_outlives_a_deletion_during_it(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    image = actions.snapshot(world.context, world.user, server, "backup", {"a": "b"}, "req-2")
    assert world.images.documents[image]["instance_uuid"] == server
    actions.delete(world.context, world.user, server, "req-3")
    host.work()
    assert world.images.documents[image]["status"] == "active"
    assert world.server(server).vm_state == "deleted"


def test_a_failed_snapshot_leaves_no_image(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    host.fail[MachineAction.SNAPSHOT] = "full"
    image = actions.snapshot(world.context, world.user, server, "backup", {}, "req-2")
    host.work()
    assert image not in world.images.documents
    assert (world.server(server).vm_state, world.server(server).task_state) == ("active", None)


def test_resize_and_back(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    actions.resize(world.context, world.user, server, "2", "req-2")
    host.work()
    assert (world.server(server).vm_state, used(world, host)[:2]) == ("resized", (2, 2048))
    actions.revert_resize(world.context, world.user, server, "req-3")
    host.work()
    assert (world.server(server).vm_state, used(world, host)[:2]) == ("active", (1, 512))
    assert world.server(server).flavor["id"] == "1"


def test_shelve_and_unshelve_on_another_host(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    actions.shelve(world.context, world.user, server, "req-2")
    host.work()
    assert (world.server(server).vm_state, world.server(server).host_id) == ("shelved_offloaded", None)
    assert used(world, host) == (0, 0, 0, 0)
    other = ObedientHost(world, "host-2")
    world.sql.run(lambda session: setattr(session.get_one(HostRow, host.id), "enabled", False))
    actions.unshelve(world.context, world.user, server, "req-3")
    world.placer.step()
    other.work()
    row = world.server(server)
    assert (row.vm_state, row.host_id, row.image["id"]) == ("active", other.id, row.last_snapshot)


def test_a_guest_that_powers_off_is_stopped(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    host.report(machines=[MachineReport(server, PowerState.SHUTDOWN)])
    assert world.server(server).vm_state == "stopped"
    mortal = world.active(host, shutdown_behavior="terminate")
    host.report(machines=[MachineReport(mortal, PowerState.SHUTDOWN)])
    host.work()
    assert world.server(mortal).vm_state == "deleted"


def test_a_lost_host_is_fenced_and_its_servers_start_elsewhere(world: CellWorld, host: ObedientHost) -> None:
    moving = world.active(host, metadata={"restart_elsewhere": "true"})
    staying = world.active(host)
    actions.snapshot(world.context, world.user, moving, "s", {}, "req-2")
    host.work()
    world.later(200)
    other = ObedientHost(world, "host-2")
    assert hosts.keep(world.context) == 2
    world.placer.step()
    other.work()
    row = world.server(moving)
    assert (row.vm_state, row.host_id, row.image["id"]) == ("active", other.id, row.last_snapshot)
    assert world.server(staying).host_id == host.id
    with pytest.raises(NoSuch):
        host.report()
    host.register()
    assert list(host.machines) == [staying]


def test_a_task_is_sent_until_its_outcome_is_accepted(world: CellWorld, host: ObedientHost) -> None:
    server = world.create()
    world.placer.step()
    (task,) = host.report()
    assert host.report(holding=[task.id]) == []
    assert host.report() == [task]
    outcome = host.do(task)
    host.report(outcomes=[outcome])
    host.report(outcomes=[outcome])
    assert host.report() == []
    assert used(world, host) == (1, 512, 1, 0)
    assert world.server(server).vm_state == "active"


def test_a_server_on_a_host_that_is_down_is_deleted_at_once(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    world.later(90)
    actions.delete(world.context, world.user, server, "req-2")
    assert world.server(server).vm_state == "deleted"
    host.work()
    assert host.machines == {}


def test_usage_is_exact(world: CellWorld, host: ObedientHost) -> None:
    server = world.active(host)
    world.later(3600)
    actions.act(world.context, world.user, server, "os-stop", "req-2")
    host.report()
    host.work()
    world.later(1800)
    actions.delete(world.context, world.user, server, "req-3")
    host.report()
    host.work()
    with world.sql.reading() as session:
        rows = session.scalars(select(UsageRow)).all()
        assert [(row.running, row.ended_at is not None) for row in rows] == [(True, True), (False, True)]
        world.later(36000)
        (sums,) = metering.report(metering.usage(session, START, world.time), {"vcpu": 2.0, "disk_gb": 1.0})
        assert (sums.server_hours, sums.running_hours, sums.vcpu_hours, sums.cost) == (1.5, 1.0, 1.0, 3.5)
        (half,) = metering.report(metering.usage(session, START.replace(minute=30), world.time), {})
        assert half.running_hours == 0.5
        assert (
            metering.as_csv([sums]).splitlines()[1] == "project,1.500000,1.000000,1.000000,0.500000,1.500000,3.500000"
        )
