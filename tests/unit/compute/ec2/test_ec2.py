"""The EC2 API as boto3 sees it: its requests go to the application in this process instead of over a network."""

from __future__ import annotations

import base64
from typing import Any

import boto3
import botocore.awsrequest
import botocore.config
import pytest
import webob
from botocore.exceptions import ClientError

from objstore.compute.ec2.application import ec2_application
from objstore.compute.protocol import MachineAction
from tests.unit.compute.api.test_api import TokensByName
from tests.unit.compute.world import IMAGE, CellWorld, ObedientHost

DOCUMENT = {
    "user": {"id": "user", "name": "user", "domain": {"id": "default"}},
    "project": {"id": "project", "name": "project", "domain": {"id": "default"}},
    "roles": [{"name": "member"}],
    "expires_at": "2100-01-01T00:00:00Z",
}


class _Raw:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self.content


def _texts(headers: Any) -> dict[str, str]:
    """botocore has bytes where its requests are signed."""
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}


@pytest.fixture
def ec2(world: CellWorld) -> Any:
    seen: list[dict[str, Any]] = []

    def check(signed: dict[str, Any]) -> Any:
        seen.append(signed)
        return ("token", DOCUMENT) if signed["access"] == "AKIA" else None

    application = ec2_application(world.context, check, TokensByName(), "here")

    def send(request: Any, **_: Any) -> Any:
        sent = webob.Request.blank(request.url, method=request.method, headers=_texts(request.headers))
        sent.body = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
        answer = sent.get_response(application)
        return botocore.awsrequest.AWSResponse(request.url, answer.status_int, answer.headers, _Raw(answer.body))

    def client(key: str = "AKIA") -> Any:
        made = boto3.client(
            "ec2",
            endpoint_url="http://ec2.example:8788",
            region_name="here",
            aws_access_key_id=key,
            aws_secret_access_key="secret",
            config=botocore.config.Config(retries={"max_attempts": 0}),
        )
        made.meta.events.register("before-send.ec2", send)
        return made

    made = client()
    made.other = client
    made.signed = seen
    world.images.documents[IMAGE] |= {"owner": "project", "visibility": "private", "created_at": "2026-01-01T00:00:00Z"}
    return made


def code_of(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture
def image(ec2: Any) -> str:
    (found,) = ec2.describe_images(Owners=["self"])["Images"]
    assert (found["State"], found["Name"], found["Public"]) == ("available", "guest", False)
    return str(found["ImageId"])


def run(ec2: Any, image: str, **more: Any) -> Any:
    return ec2.run_instances(ImageId=image, InstanceType="m1.tiny", **({"MinCount": 1, "MaxCount": 1} | more))


def test_an_instance_from_its_start_to_its_end(ec2: Any, world: CellWorld, host: ObedientHost, image: str) -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": "web"}, {"Key": "a", "Value": "b"}]}]
    made = run(ec2, image, TagSpecifications=tags, UserData="#!/bin/sh\n")
    (instance,) = made["Instances"]
    assert (instance["State"]["Name"], instance["ImageId"], instance["InstanceType"]) == ("pending", image, "m1.tiny")
    world.placer.step()
    host.work()
    name = instance["InstanceId"]
    ec2.get_waiter("instance_running").wait(InstanceIds=[name])
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[name])
    shown = ec2.describe_instances(InstanceIds=[name])["Reservations"][0]["Instances"][0]
    assert shown["PrivateIpAddress"] == "10.0.2.15"
    assert {each["Key"]: each["Value"] for each in shown["Tags"]} == {"Name": "web", "a": "b"}
    data = ec2.describe_instance_attribute(InstanceId=name, Attribute="userData")["UserData"]["Value"]
    assert base64.b64decode(data) == b"#!/bin/sh\n"
    changed = ec2.stop_instances(InstanceIds=[name])["StoppingInstances"][0]
    assert (changed["PreviousState"]["Name"], changed["CurrentState"]["Name"]) == ("running", "stopping")
    host.work()
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[name])
    ec2.start_instances(InstanceIds=[name])
    host.work()
    ec2.terminate_instances(InstanceIds=[name])
    host.work()
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[name])
    world.later(4000)
    assert code_of(ec2.describe_instances, InstanceIds=[name]) == "InvalidInstanceID.NotFound"


def test_a_client_token_gives_one_reservation(ec2: Any, image: str) -> None:
    first = run(ec2, image, ClientToken="t")
    assert run(ec2, image, ClientToken="t")["ReservationId"] == first["ReservationId"]
    assert code_of(lambda: run(ec2, image, ClientToken="t", MaxCount=2)) == "IdempotentParameterMismatch"
    assert run(ec2, image)["ReservationId"] != first["ReservationId"]


def test_filters_and_pages(ec2: Any, image: str) -> None:
    run(ec2, image, MinCount=3, MaxCount=3)
    pages = list(ec2.get_paginator("describe_instances").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["Reservations"][0]["Instances"]) for page in pages] == [2, 1]
    filters = [{"Name": "tag:Name", "Values": ["instance-?"]}, {"Name": "instance-state-name", "Values": ["pending"]}]
    assert len(ec2.describe_instances(Filters=filters)["Reservations"][0]["Instances"]) == 3
    assert ec2.describe_instances(Filters=[{"Name": "key-name", "Values": ["none"]}])["Reservations"] == []
    assert code_of(ec2.describe_instances, Filters=[{"Name": "color", "Values": ["red"]}]) == "InvalidParameterValue"


def test_errors_by_their_codes(ec2: Any, image: str, host: ObedientHost) -> None:
    assert code_of(ec2.other("wrong").describe_instances) == "AuthFailure"
    assert code_of(ec2.describe_instances, InstanceIds=["web"]) == "InvalidInstanceID.Malformed"
    assert code_of(ec2.terminate_instances, InstanceIds=["i-00000000000000000"]) == "InvalidInstanceID.NotFound"
    assert code_of(ec2.run_instances, ImageId="ami-00000000", MinCount=1, MaxCount=1) == "InvalidAMIID.NotFound"
    assert code_of(lambda: run(ec2, image, KeyName="none")) == "InvalidParameterValue"
    assert code_of(lambda: run(ec2, image, MinCount=11, MaxCount=11)) == "InstanceLimitExceeded"
    assert code_of(lambda: run(ec2, image, DryRun=True)) == "DryRunOperation"
    assert code_of(ec2.create_volume, AvailabilityZone="nova", Size=1) == "UnsupportedOperation"
    assert code_of(ec2.describe_hosts) == "InvalidAction"


def test_images(ec2: Any, world: CellWorld, host: ObedientHost, image: str) -> None:
    server = world.active(host)
    name = world.server(server).instance_id
    made = ec2.create_image(InstanceId=name, Name="snap", NoReboot=True)["ImageId"]
    assert ec2.describe_images(ImageIds=[made])["Images"][0]["State"] == "pending"
    host.work()
    ec2.get_waiter("image_available").wait(ImageIds=[made])
    ec2.deregister_image(ImageId=made)
    assert code_of(ec2.describe_images, ImageIds=[made]) == "InvalidAMIID.NotFound"


def test_keys(ec2: Any) -> None:
    made = ec2.create_key_pair(KeyName="k", KeyType="ed25519")
    assert "PRIVATE KEY" in made["KeyMaterial"]
    assert code_of(ec2.create_key_pair, KeyName="k") == "InvalidKeyPair.Duplicate"
    assert [each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]] == ["k"]
    ec2.delete_key_pair(KeyName="k")
    ec2.delete_key_pair(KeyName="k")
    assert code_of(ec2.describe_key_pairs, KeyNames=["k"]) == "InvalidKeyPair.NotFound"


def test_tags_and_attributes(ec2: Any, world: CellWorld, host: ObedientHost) -> None:
    name = world.server(world.active(host)).instance_id
    ec2.create_tags(Resources=[name], Tags=[{"Key": "Name", "Value": "new"}, {"Key": "x", "Value": "y"}])
    ec2.delete_tags(Resources=[name], Tags=[{"Key": "x"}])
    assert [(each["Key"], each["Value"]) for each in ec2.describe_tags()["Tags"]] == [("Name", "new")]
    ec2.modify_instance_attribute(InstanceId=name, DisableApiTermination={"Value": True})
    assert code_of(ec2.terminate_instances, InstanceIds=[name]) == "OperationNotPermitted"


def test_what_there_is_once_or_not_at_all(ec2: Any, host: ObedientHost) -> None:
    assert ec2.describe_regions()["Regions"][0]["RegionName"] == "here"
    assert [each["ZoneName"] for each in ec2.describe_availability_zones()["AvailabilityZones"]] == ["nova"]
    types = ec2.describe_instance_types(InstanceTypes=["m1.small"])["InstanceTypes"]
    assert (types[0]["VCpuInfo"]["DefaultVCpus"], types[0]["MemoryInfo"]["SizeInMiB"]) == (2, 2048)
    assert ec2.describe_volumes()["Volumes"] == [] == ec2.describe_addresses()["Addresses"]
    assert len(ec2.describe_security_groups()["SecurityGroups"]) == 1 == len(ec2.describe_vpcs()["Vpcs"])


def test_what_the_identity_service_is_shown(ec2: Any) -> None:
    ec2.describe_regions()
    (signed,) = ec2.signed
    assert (signed["access"], signed["verb"], signed["path"], signed["host"]) == (
        "AKIA",
        "POST",
        "/",
        "ec2.example:8788",
    )
    assert signed["params"]["Action"] == "DescribeRegions"
    assert signed["headers"]["Authorization"].endswith(signed["signature"])
    assert len(signed["body_hash"]) == 64


def test_the_console_is_asked_of_the_host(ec2: Any, world: CellWorld, host: ObedientHost) -> None:
    name = world.server(world.active(host)).instance_id
    waits = world.context.signal.wait_until

    def answer_first(topic: str, ready: Any, seconds: float) -> Any:
        if topic != host.id:
            host.work()
        return waits(topic, ready, seconds)

    world.context.signal.wait_until = answer_first  # type: ignore[method-assign]
    try:
        output = ec2.get_console_output(InstanceId=name)["Output"]
    finally:
        world.context.signal.wait_until = waits  # type: ignore[method-assign]
    assert output == "hello\n"
    assert host.done[-1].action == MachineAction.CONSOLE
