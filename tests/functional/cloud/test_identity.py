"""The identity service and the store as OpenStack's clients see them: each a process of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.functional.cloud.whole import WholeCloud
from tests.functional.servers import descendants


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeCloud]:
    running = WholeCloud(tmp_path_factory.mktemp("whole") / "cloud")
    running.start()
    yield running
    assert running.stop() == 0, running.output


def test_the_command_line_client(cloud: WholeCloud) -> None:
    types = {entry["Type"] for entry in cloud.openstack("catalog", "list")}
    assert {"identity", "object-store"} <= types
    assert {"admin", "demo", "store"} <= {user["Name"] for user in cloud.openstack("user", "list", cloud="admin")}


# What openstacksdk and keystoneauth do when they log in, manage users and use the store.
SDK = """
import openstack
from keystoneauth1 import exceptions
admin, demo = openstack.connect(cloud="admin"), openstack.connect(cloud="demo")
identity = admin.identity
project = identity.create_project(name="blue", description="x")
user = identity.create_user(name="eve", password="secret", default_project_id=project.id)
role = identity.find_role("member")
identity.assign_project_role_to_user(project, user, role)
assert identity.validate_user_has_project_role(project, user, role)
assert {each.name for each in identity.user_projects(user)} == {"blue"}
assert [each.role["name"] for each in identity.role_assignments(user_id=user.id, include_names=True)] == ["member"]
auth = dict(auth_url=demo.config.auth["auth_url"], username="eve", password="secret", project_name="blue",
            user_domain_name="Default", project_domain_name="Default")
eve = openstack.connection.Connection(auth=auth, region_name="RegionOne")
eve.object_store.create_container("mine")
eve.object_store.upload_object("mine", "greeting", data=b"hello")
assert eve.object_store.download_object("greeting", container="mine") == b"hello"
try:
    demo.object_store.get(f"{eve.object_store.get_endpoint()}/mine/greeting", raise_exc=True)
    raise AssertionError("another project's object was read")
except exceptions.Forbidden:
    pass
credential = eve.identity.create_application_credential(user, "program", roles=[{"name": "reader"}])
program = openstack.connection.Connection(
    auth_type="v3applicationcredential", region_name="RegionOne",
    auth=dict(auth_url=auth["auth_url"], application_credential_id=credential.id,
              application_credential_secret=credential.secret))
assert program.object_store.download_object("greeting", container="mine") == b"hello"
refused = program.object_store.put(f"{program.object_store.get_endpoint()}/mine/other", data=b"x", raise_exc=False)
assert refused.status_code == 403, refused.status_code
identity.update_user(user, is_enabled=False)
try:
    openstack.connection.Connection(auth=auth, region_name="RegionOne").authorize()
    raise AssertionError("a disabled user has logged in")
except openstack.exceptions.SDKException as error:
    assert "401" in str(error)
identity.delete_user(user)
identity.delete_project(project)
print("done")
"""


def test_the_library(cloud: WholeCloud) -> None:
    assert cloud.python(SDK).strip() == "done"


def test_an_image_lies_in_the_account_of_the_services(cloud: WholeCloud, tmp_path: Path) -> None:
    (tmp_path / "disk.raw").write_bytes(os.urandom(1 << 20))
    formats = ("--disk-format", "raw", "--container-format", "bare", "--file", str(tmp_path / "disk.raw"))
    image = cloud.openstack("image", "create", *formats, "disk")["id"]
    script = f"import openstack, sys; print(openstack.connect().image.download_image('{image}').status_code)"
    assert cloud.python(script).strip() == "200"


def s3_client(cloud: WholeCloud, access: str, secret: str) -> Any:
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
    keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
    return boto3.client("s3", endpoint_url=cloud.url("store"), region_name="us-east-1", config=config, **keys)


def test_an_access_key_signs_requests_of_s3(cloud: WholeCloud) -> None:
    user, project = (cloud.ask("GET", f"/{kind}?name=demo")[kind][0]["id"] for kind in ("users", "projects"))
    path = f"/users/{user}/credentials/OS-EC2"
    key = cloud.ask("POST", path, {"tenant_id": project}, user="demo")["credential"]
    s3 = s3_client(cloud, key["access"], key["secret"])
    s3.create_bucket(Bucket="cloud-bucket")
    s3.put_object(Bucket="cloud-bucket", Key="a", Body=b"content")
    assert s3.get_object(Bucket="cloud-bucket", Key="a")["Body"].read() == b"content"
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3_client(cloud, "0" * 32, key["secret"]).list_objects_v2(Bucket="cloud-bucket")


def test_it_ends_with_any_of_its_services_and_goes_on_at_the_next_start(cloud: WholeCloud) -> None:
    made = cloud.ask("POST", "/projects", {"project": {"name": "lasting"}})["project"]
    assert cloud.process is not None
    children = descendants(cloud.process.pid)
    identity = next(pid for pid in children if b"\0identity\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(identity, signal.SIGKILL)
    assert cloud.wait() == 1
    assert "identity has ended with status -9" in cloud.output
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
    cloud.start()
    assert cloud.ask("GET", f"/projects/{made['id']}")["project"] == made
