"""The compute service with real clients: each service a process of its own; machines that are states only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from objstore.client.identity import IdentityClient, ServiceUser
from tests.functional.cloud.states_host import StatesHost
from tests.functional.cloud.whole import WholeCloud
from tests.functional.conftest import installed, run
from tests.functional.servers import objstore
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCloud]:
    running = WholeCloud(tmp_path_factory.mktemp("compute") / "cloud")
    running.start()
    user = ServiceUser("compute", json.loads((running.folder / "passwords.json").read_text())["compute"])
    identity = IdentityClient(f"{running.url('identity')}/v3", user)
    host = StatesHost("states-1", running.url("compute"), running.url("image"), identity)
    host.start()
    _leave_only(running, "states-1")
    yield running
    host.stop()
    assert running.stop() == 0, running.output


def _leave_only(cloud: WholeCloud, name: str) -> None:
    """Disable the cloud's own host: these tests need no real machines, and must not depend on programs for them."""

    def hosts() -> set[str]:
        return {each["Host"] for each in cloud.openstack("compute", "service", "list", cloud="admin")}

    # It is started where the programs that it needs are there.
    own = (cloud.folder / "logs" / "compute-host.log").exists()
    wait_until(lambda: name in hosts() and len(hosts()) == 1 + own, "the hosts to register", 90)
    for other in hosts() - {name}:
        run(
            installed("openstack"), "compute", "service", "set", "--disable", other, "nova-compute",
            **cloud.environment("admin"),
        )  # fmt: skip


@pytest.fixture(scope="module")
def image(cloud: WholeCloud) -> str:
    file = cloud.folder / "disk.raw"
    file.write_bytes(b"a disk" * 1000)
    words = ("--disk-format", "raw", "--container-format", "bare", "--file", str(file))
    return str(cloud.openstack("image", "create", *words, "guest")["id"])


def test_the_command_line_client(cloud: WholeCloud, image: str) -> None:
    more = ("--network", "private", "--security-group", "default", "--property", "a=b", "--wait")
    made = cloud.openstack("server", "create", "--image", "guest", "--flavor", "m1.tiny", *more, "web")
    assert (made["status"], made["addresses"], made["properties"]) == ("ACTIVE", {"private": ["10.0.2.15"]}, {"a": "b"})
    saved = cloud.openstack("server", "image", "create", "--name", "saved", "--wait", "web")
    assert saved["status"] == "active"
    assert [each["Name"] for each in cloud.openstack("server", "list")] == ["web"]
    hypervisors = cloud.openstack("hypervisor", "list", cloud="admin")
    assert "states-1" in {each["Hypervisor Hostname"] for each in hypervisors}


# What openstacksdk and python-novaclient do with a server's life.
LIFE = """
import datetime, openstack
from novaclient import client
cloud = openstack.connect(cloud="demo")
image = cloud.image.find_image("guest")
flavor = cloud.compute.find_flavor("m1.tiny")
key = cloud.compute.create_keypair(name="mine")
assert key.private_key.startswith("-----BEGIN")
server = cloud.compute.create_server(name="sdk", image_id=image.id, flavor_id=flavor.id, key_name="mine",
                                     user_data="IyEvYmluL3NoCg==", metadata={"x": "y"})
server = cloud.compute.wait_for_server(server, interval=0.2)
assert server.status == "ACTIVE" and server.metadata == {"x": "y"}
for act, status in ((cloud.compute.stop_server, "SHUTOFF"), (cloud.compute.start_server, "ACTIVE"),
                    (cloud.compute.pause_server, "PAUSED"), (cloud.compute.unpause_server, "ACTIVE"),
                    (cloud.compute.suspend_server, "SUSPENDED"), (cloud.compute.resume_server, "ACTIVE")):
    act(server)
    cloud.compute.wait_for_server(server, status=status, interval=0.1)
cloud.compute.resize_server(server, cloud.compute.find_flavor("m1.small").id)
cloud.compute.wait_for_server(server, status="VERIFY_RESIZE", interval=0.1)
cloud.compute.confirm_server_resize(server)
cloud.compute.wait_for_server(server, status="ACTIVE", interval=0.1)
assert cloud.compute.get_server_console_output(server, length=2)["output"] == "two\\nthree\\n"
saved = cloud.compute.create_server_image(server, "of-sdk", wait=True, timeout=60)
assert saved.status == "active", saved.status
nova = client.Client("2.1", session=cloud.session)
(found,) = nova.servers.list(search_opts={"name": "^sdk$"})
nova.servers.set_meta(found, {"k": "v"})
assert nova.servers.get(found.id).metadata == {"x": "y", "k": "v"}
nova.servers.shelve(found)
cloud.compute.wait_for_server(server, status="SHELVED_OFFLOADED", interval=0.1)
nova.servers.unshelve(found)
cloud.compute.wait_for_server(server, status="ACTIVE", interval=0.1)
assert nova.limits.get().to_dict()["absolute"]["totalInstancesUsed"] >= 1
assert [each.name for each in nova.flavors.list()][:1] == ["m1.tiny"]
assert "create" in {each.action for each in nova.instance_action.list(found)}
assert nova.usage.get(cloud.current_project_id, datetime.datetime(2020, 1, 1),
                      datetime.datetime(2100, 1, 1)).total_hours > 0
cloud.compute.delete_server(server)
cloud.compute.wait_for_delete(server, interval=0.1)
assert cloud.image.find_image("of-sdk").status == "active"
print("done")
"""


def test_the_libraries(cloud: WholeCloud, image: str) -> None:
    assert cloud.python(LIFE).strip() == "done"


def test_ec2_by_boto3(cloud: WholeCloud, image: str) -> None:
    key = cloud.openstack("ec2", "credentials", "create")
    options: dict[str, Any] = {
        "endpoint_url": cloud.url("ec2"),
        "region_name": "RegionOne",
        "config": Config(retries={"max_attempts": 0}),
    }
    ec2 = boto3.client("ec2", aws_access_key_id=key["access"], aws_secret_access_key=key["secret"], **options)
    (ami,) = (each["ImageId"] for each in ec2.describe_images()["Images"] if each["Name"] == "guest")
    made = ec2.run_instances(ImageId=ami, InstanceType="m1.tiny", MinCount=1, MaxCount=1)["Instances"][0]
    names = [made["InstanceId"]]
    fast = {"Delay": 1, "MaxAttempts": 60}
    ec2.get_waiter("instance_running").wait(InstanceIds=names, WaiterConfig=fast)
    assert ec2.get_console_output(InstanceId=names[0])["Output"] == "one\ntwo\nthree\n"
    snapshot = ec2.create_image(InstanceId=names[0], Name="by-ec2")["ImageId"]
    ec2.get_waiter("image_available").wait(ImageIds=[snapshot], WaiterConfig=fast)
    ec2.terminate_instances(InstanceIds=names)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=names, WaiterConfig=fast)
    wrong = boto3.client("ec2", aws_access_key_id=key["access"], aws_secret_access_key="wrong", **options)
    with pytest.raises(wrong.exceptions.ClientError, match="AuthFailure"):
        wrong.describe_instances()


def test_usage_is_reported(cloud: WholeCloud, image: str) -> None:
    words = ("usage", "report", "--config", str(cloud.folder / "compute.toml"), "--json")
    (project,) = json.loads(run(*objstore(*words)))
    assert project["running_hours"] > 0
