"""As a new user would: an image, a machine, a file in it, a snapshot, and a machine that boots from that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.cloud.guest import guest_image, lacking, machine_folder
from tests.functional.cloud.whole import WholeCloud
from tests.functional.conftest import installed, run

pytestmark = pytest.mark.skipif(bool(lacking()), reason=f"programs are missing: {' '.join(lacking())}")

READY = "objstore-guest: ready"


@pytest.fixture
def cloud() -> Iterator[WholeCloud]:
    with machine_folder() as folder:
        running = WholeCloud(folder / "cloud")
        try:
            running.start()
            yield running
            assert running.stop() == 0, running.output
        finally:
            running.stop()


# What openstacksdk does. Names of files and of the server's script come as arguments.
WALK = """
import base64, sys, time, openstack
cloud = openstack.connect()
def console(server, text):
    deadline = time.monotonic() + 60
    while text not in (output := cloud.compute.get_server_console_output(server)["output"]):
        assert time.monotonic() < deadline, output
        time.sleep(0.2)
    return output
def boot(name, image, **more):
    server = cloud.compute.create_server(name=name, image_id=image.id, flavor_id="42", networks="auto", **more)
    server = cloud.compute.wait_for_server(server, interval=0.2, wait=60)
    return server, console(server, "objstore-guest: ready")
def delete(server):
    cloud.compute.delete_server(server)
    cloud.compute.wait_for_delete(server, interval=0.2, wait=60)
image = cloud.create_image("guest", filename=sys.argv[1], disk_format="qcow2", container_format="bare", wait=True)
script = base64.b64encode(b"#!/bin/sh\\necho precious > /root/kept; sync\\n").decode()
first, _ = boot("first", image, user_data=script)
snapshot = cloud.compute.create_server_image(first, "snapshot", wait=True, timeout=60)
delete(first)
second, output = boot("second", snapshot)
assert "objstore-guest: kept precious" in output, output
assert f"uuid={second.id} hostname=second source=metadata" in output, output
cloud.compute.stop_server(second)
cloud.compute.wait_for_server(second, status="SHUTOFF", interval=0.2, wait=60)
delete(second)
cloud.image.delete_image(snapshot)
"""


def test_a_machine_its_snapshot_and_a_machine_of_that(cloud: WholeCloud) -> None:
    python = Path(installed("openstack")).with_name("python")
    run(str(python), "-c", WALK, str(guest_image()), **cloud.environment())
    assert list((cloud.folder / "host/machines").iterdir()) == []
