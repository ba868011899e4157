"""The compute API over WSGI, in one process: statuses, documents and faults."""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

import pytest
import webob

from objstore.cloud.callers import CloudCaller
from objstore.compute.api.application import compute_application
from tests.unit.compute.world import IMAGE, CellWorld, ObedientHost

FAR = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)


def caller(name: str, *roles: str) -> CloudCaller:
    project = None if name == "homeless" else "project" if name != "stranger" else "other"
    return CloudCaller(name, name, "default", project, project, "default", frozenset(roles), name, FAR)


class TokensByName:
    challenge = "Keystone"
    known: ClassVar[dict[str, CloudCaller]] = {
        "member": caller("member", "member"),
        "admin": caller("admin", "admin", "member"),
        "stranger": caller("stranger", "member"),
        "service": caller("service", "service"),
        "homeless": caller("homeless"),
    }

    def of(self, token: str) -> CloudCaller | None:
        return self.known.get(token)


class ApiClient:
    def __init__(self, world: CellWorld) -> None:
        self.application = compute_application(world.context, TokensByName())

    def __call__(self, method: str, path: str, body: Any = None, token: str = "member", **headers: str) -> Any:
        request = webob.Request.blank(f"/v2.1{path}", method=method, headers=headers)
        if token:
            request.headers["X-Auth-Token"] = token
        if body is not None:
            request.json_body = body
        return request.get_response(self.application)

    def ok(self, method: str, path: str, body: Any = None, status: int = 200, token: str = "member") -> Any:
        response = self(method, path, body, token)
        assert response.status_int == status, response.text
        return response.json if response.body else None


@pytest.fixture
def api(world: CellWorld) -> ApiClient:
    return ApiClient(world)


def server_body(**more: Any) -> dict[str, Any]:
    return {"server": {"name": "web", "imageRef": IMAGE, "flavorRef": "1", **more}}


@pytest.fixture
def server(world: CellWorld, host: ObedientHost, api: ApiClient) -> str:
    made = api.ok("POST", "/servers", server_body(), 202)["server"]["id"]
    world.placer.step()
    host.work()
    return str(made)


def test_versions_need_no_token(api: ApiClient) -> None:
    request = webob.Request.blank("/")
    assert request.get_response(api.application).json["versions"][0]["version"] == "2.1"
    assert api("GET", "/", token="").json["version"]["id"] == "v2.1"
    assert api("GET", "/servers", token="").status_int == 401
    assert api("GET", "/servers", token="wrong").json["unauthorized"]["code"] == 401
    assert api("GET", "/servers", token="homeless").status_int == 403


@pytest.mark.parametrize(
    ("text", "status"),
    [("compute 2.1", 200), ("compute latest", 200), ("compute 2.99", 406), ("compute two", 400), ("image 9.9", 200)],
)
def test_microversions(api: ApiClient, text: str, status: int) -> None:
    response = api("GET", "/servers", **{"OpenStack-API-Version": text})
    assert response.status_int == status
    assert response.headers["OpenStack-API-Version"] == "compute 2.1"
    assert "X-OpenStack-Nova-API-Version" in response.headers["Vary"]


def test_a_server_as_clients_see_it(api: ApiClient, world: CellWorld, host: ObedientHost) -> None:
    made = api.ok("POST", "/servers", server_body(metadata={"a": "b"}), 202)["server"]
    assert set(made) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    shown = api.ok("GET", f"/servers/{made['id']}")["server"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"], shown["hostId"]) == ("BUILD", "scheduling", "")
    world.placer.step()
    host.work()
    shown = api.ok("GET", f"/project/servers/{made['id']}")["server"]
    assert (shown["status"], shown["metadata"], shown["OS-EXT-AZ:availability_zone"]) == ("ACTIVE", {"a": "b"}, "nova")
    assert shown["addresses"]["private"][0]["addr"] == "10.0.2.15"
    assert "OS-EXT-SRV-ATTR:host" not in shown
    seen = api.ok("GET", f"/servers/{made['id']}", token="admin")["server"]
    assert seen["OS-EXT-SRV-ATTR:host"] == "host-1"
    assert [each["id"] for each in api.ok("GET", "/servers?name=^we.$&status=active")["servers"]] == [made["id"]]
    assert api.ok("GET", "/servers/detail?status=wrong") == {"servers": []}
    api.ok("GET", f"/servers/{made['id']}", status=404, token="stranger")
    api.ok("GET", f"/other/servers/{made['id']}", status=400)
    api.ok("DELETE", f"/servers/{made['id']}", status=204)
    host.work()
    assert api.ok("GET", f"/servers/{made['id']}", status=404)["itemNotFound"]["code"] == 404
    assert [each["status"] for each in api.ok("GET", "/servers/detail?changes-since=2020-01-01")["servers"]] == [
        "DELETED"
    ]


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"color": "red"}, 400),
        ({"flavorRef": "99"}, 400),
        ({"imageRef": "x"}, 400),
        ({"personality": [{"path": "a", "contents": ""}]}, 400),
        ({"networks": [{"port": "x"}]}, 400),
        ({"security_groups": [{"name": "web"}]}, 400),
        ({"block_device_mapping_v2": [{"source_type": "volume", "uuid": IMAGE, "boot_index": 0}]}, 400),
        ({"min_count": 11}, 403),
        ({"metadata": {str(n): "" for n in range(129)}}, 403),
        ({"name": ""}, 400),
        ({"accessIPv4": "::1"}, 400),
    ],
)
def test_wrong_servers_are_refused(api: ApiClient, host: ObedientHost, wrong: dict[str, Any], status: int) -> None:
    api.ok("POST", "/servers", server_body(**wrong), status)
    assert api.ok("GET", "/servers") == {"servers": []}


def test_the_root_disk_as_a_block_device(api: ApiClient) -> None:
    device = {"boot_index": 0, "uuid": IMAGE, "source_type": "image", "destination_type": "local"}
    device["delete_on_termination"] = True
    api.ok("POST", "/servers", server_body(imageRef="", block_device_mapping_v2=[device]), 202)


def test_pages(api: ApiClient, world: CellWorld) -> None:
    for _ in range(3):
        world.later(1)
        api.ok("POST", "/servers", server_body(), 202)
    first = api.ok("GET", "/servers?limit=2")
    assert len(first["servers"]) == 2
    following = first["servers_links"][0]["href"].partition("/v2.1")[2]
    rest = api.ok("GET", following)
    assert len(rest["servers"]) == 1 and "servers_links" not in rest
    api.ok("GET", "/servers?marker=none", status=400)


@pytest.mark.parametrize(
    ("body", "status", "after"),
    [
        ({"os-stop": None}, 202, "SHUTOFF"),
        ({"os-start": None}, 409, "ACTIVE"),
        ({"pause": None}, 202, "PAUSED"),
        ({"reboot": {"type": "HARD"}}, 202, "ACTIVE"),
        ({"reboot": {"type": "warm"}}, 400, "ACTIVE"),
        ({"resize": {"flavorRef": "2"}}, 202, "VERIFY_RESIZE"),
        ({"rebuild": {"imageRef": IMAGE, "name": "new"}}, 202, "ACTIVE"),
        ({"rescue": None}, 200, "RESCUE"),
        ({"lock": None}, 202, "ACTIVE"),
        ({"shelve": None}, 202, "SHELVED_OFFLOADED"),
        ({"os-getVNCConsole": {"type": "novnc"}}, 400, "ACTIVE"),
        ({"os-migrateLive": {}}, 501, "ACTIVE"),
        ({"changePassword": {"adminPass": "x"}}, 501, "ACTIVE"),
        ({"os-resetState": {"state": "error"}}, 403, "ACTIVE"),
        ({"fly": None}, 400, "ACTIVE"),
    ],
)
def test_actions(
    api: ApiClient, server: str, host: ObedientHost, body: dict[str, Any], status: int, after: str
) -> None:
    api.ok("POST", f"/servers/{server}/action", body, status)
    host.work()
    assert api.ok("GET", f"/servers/{server}")["server"]["status"] == after


def test_a_driver_that_cannot_says_so(world: CellWorld, api: ApiClient, server: str, host: ObedientHost) -> None:
    host.registration = host.registration.__class__(
        name="host-1", driver="fake", vcpus=8, ram_mb=8192, disk_gb=100, features=["start"]
    )
    host.register()
    refusal = api.ok("POST", f"/servers/{server}/action", {"pause": None}, 501)
    assert refusal["notImplemented"]["message"] == "The host's driver fake does not offer pause."


def test_snapshots_and_backups(world: CellWorld, api: ApiClient, server: str, host: ObedientHost) -> None:
    response = api("POST", f"/servers/{server}/action", {"createImage": {"name": "s", "metadata": {"x": "y"}}})
    assert response.status_int == 202
    image = response.headers["Location"].rpartition("/")[2]
    assert world.images.documents[image]["x"] == "y"
    assert api.ok("GET", f"/servers/{server}")["server"]["OS-EXT-STS:task_state"] == "image_snapshot"
    api.ok("POST", f"/servers/{server}/action", {"createImage": {"name": "t"}}, 409)
    host.work()
    world.images.documents.clear()
    backup = {"createBackup": {"name": "b", "backup_type": "daily", "rotation": 1}}
    api.ok("POST", f"/servers/{server}/action", backup, 202)
    assert [each["backup_type"] for each in world.images.documents.values()] == ["daily"]


def test_metadata(api: ApiClient, server: str) -> None:
    path = f"/servers/{server}/metadata"
    assert api.ok("POST", path, {"metadata": {"a": "1", "b": "2"}}) == {"metadata": {"a": "1", "b": "2"}}
    assert api.ok("PUT", f"{path}/a", {"meta": {"a": "3"}}) == {"meta": {"a": "3"}}
    api.ok("PUT", f"{path}/a", {"meta": {"b": "3"}}, 400)
    api.ok("DELETE", f"{path}/b", status=204)
    api.ok("DELETE", f"{path}/b", status=404)
    assert api.ok("GET", path) == {"metadata": {"a": "3"}}
    assert api.ok("PUT", path, {"metadata": {}}) == {"metadata": {}}


def test_instance_actions(api: ApiClient, server: str, host: ObedientHost) -> None:
    api.ok("POST", f"/servers/{server}/action", {"os-stop": None}, 202)
    host.work()
    found = api.ok("GET", f"/servers/{server}/os-instance-actions")["instanceActions"]
    assert [each["action"] for each in found] == ["stop", "create"]
    one = f"/servers/{server}/os-instance-actions/{found[0]['request_id']}"
    assert "events" not in api.ok("GET", one)["instanceAction"]
    assert api.ok("GET", one, token="admin")["instanceAction"]["events"][0]["result"] == "Success"


def test_keypairs(api: ApiClient) -> None:
    made = api.ok("POST", "/os-keypairs", {"keypair": {"name": "k"}})["keypair"]
    assert made["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    brought = api.ok("POST", "/os-keypairs", {"keypair": {"name": "l", "public_key": made["public_key"]}})["keypair"]
    assert brought["fingerprint"] == made["fingerprint"] and "private_key" not in brought
    api.ok("POST", "/os-keypairs", {"keypair": {"name": "k"}}, 409)
    api.ok("POST", "/os-keypairs", {"keypair": {"name": "m", "public_key": "ssh-rsa nonsense"}}, 400)
    assert len(api.ok("GET", "/os-keypairs")["keypairs"]) == 2
    assert api.ok("GET", "/os-keypairs", token="admin")["keypairs"] == []
    api.ok("DELETE", "/os-keypairs/k", status=202)
    api.ok("GET", "/os-keypairs/k", status=404)


def test_flavors(api: ApiClient) -> None:
    new = {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 0, "id": "f1", "os-flavor-access:is_public": False}}
    api.ok("POST", "/flavors", new, 403)
    made = api.ok("POST", "/flavors", new, token="admin")["flavor"]
    assert (made["id"], made["swap"], made["os-flavor-access:is_public"]) == ("f1", "", False)
    api.ok("POST", "/flavors", new, 409, token="admin")
    api.ok("GET", "/flavors/f1", status=404)
    api.ok("POST", "/flavors/f1/action", {"addTenantAccess": {"tenant": "project"}}, token="admin")
    assert api.ok("GET", "/flavors/f1")["flavor"]["ram"] == 64
    api.ok("POST", "/flavors/f1/os-extra_specs", {"extra_specs": {"k": "v"}}, token="admin")
    assert api.ok("GET", "/flavors/f1/os-extra_specs/k") == {"k": "v"}
    assert [each["id"] for each in api.ok("GET", "/flavors?minRam=1024")["flavors"]] == ["2"]
    api.ok("DELETE", "/flavors/f1", status=202, token="admin")


def test_limits_quotas_and_usage(world: CellWorld, api: ApiClient, server: str) -> None:
    absolute = api.ok("GET", "/limits")["limits"]["absolute"]
    assert (absolute["maxTotalInstances"], absolute["totalInstancesUsed"]) == (10, 1)
    api.ok("PUT", "/os-quota-sets/project", {"quota_set": {"instances": 2}}, 403)
    assert (
        api.ok("PUT", "/os-quota-sets/project", {"quota_set": {"cores": 1}}, token="admin")["quota_set"]["cores"] == 1
    )
    assert "cores" in api.ok("POST", "/servers", server_body(), 403)["forbidden"]["message"]
    world.later(3600)
    usage = api.ok("GET", "/os-simple-tenant-usage/project?start=2026-01-01T00:00:00")["tenant_usage"]
    assert (usage["total_hours"], usage["server_usages"][0]["state"]) == (1.0, "active")
    api.ok("GET", "/os-simple-tenant-usage", status=403)


def test_server_groups_keep_servers_apart(world: CellWorld, api: ApiClient, host: ObedientHost) -> None:
    body = {"server_group": {"name": "g", "policies": ["anti-affinity"]}}
    group = api.ok("POST", "/os-server-groups", body)["server_group"]["id"]
    for _ in range(2):
        document = server_body() | {"os:scheduler_hints": {"group": group}}
        api.ok("POST", "/servers", document, 202)
    world.placer.step()
    shown = api.ok("GET", "/servers/detail")["servers"]
    assert sorted(each["status"] for each in shown) == ["BUILD", "ERROR"]
    assert "has a server of its group" in next(each for each in shown if "fault" in each)["fault"]["message"]
    assert len(api.ok("GET", f"/os-server-groups/{group}")["server_group"]["members"]) == 2


def test_operators(api: ApiClient, server: str) -> None:
    api.ok("GET", "/os-hypervisors", status=403)
    (shown,) = api.ok("GET", "/os-hypervisors/detail", token="admin")["hypervisors"]
    assert (shown["running_vms"], shown["state"], shown["memory_mb_used"]) == (1, "up", 512)
    assert api.ok("GET", f"/os-hypervisors/{shown['id']}", token="admin")["hypervisor"] == shown
    made = api.ok("POST", "/os-aggregates", {"aggregate": {"name": "a", "availability_zone": "z"}}, token="admin")
    path = f"/os-aggregates/{made['aggregate']['id']}"
    api.ok("POST", f"{path}/action", {"add_host": {"host": "host-1"}}, token="admin")
    assert api.ok("GET", f"/servers/{server}")["server"]["OS-EXT-AZ:availability_zone"] == "z"
    zones = api.ok("GET", "/os-availability-zone")["availabilityZoneInfo"]
    assert {each["zoneName"]: each["zoneState"]["available"] for each in zones} == {"nova": False, "z": True}
    api.ok("DELETE", path, status=400, token="admin")
    body = {"host": "host-1", "binary": "nova-compute"}
    assert api.ok("PUT", "/os-services/disable", body, token="admin")["service"]["status"] == "disabled"
    assert api.ok("GET", "/os-services", token="admin")["services"][0]["status"] == "disabled"


def test_networks_without_a_network_service(api: ApiClient) -> None:
    (network,) = api.ok("GET", "/os-networks")["networks"]
    api.ok("POST", "/servers", server_body(networks=[{"uuid": network["id"]}]), 202)
    assert [each["name"] for each in api.ok("GET", "/os-security-groups")["security_groups"]] == ["default"]
    api.ok("POST", "/os-security-groups", {"security_group": {}}, 403)
    assert api.ok("GET", "/os-floating-ips") == {"floating_ips": []}


def test_only_services_speak_for_hosts(api: ApiClient) -> None:
    body = {"name": "h", "driver": "fake", "vcpus": 1, "ram_mb": 1, "disk_gb": 1}
    for token, status in (("member", 403), ("service", 200)):
        request = webob.Request.blank("/host/v1/hosts", method="POST", headers={"X-Auth-Token": token})
        request.json_body = body
        response = request.get_response(api.application)
        assert response.status_int == status
    path = f"/host/v1/hosts/{response.json['host_id']}/report"
    request = webob.Request.blank(path, method="POST", headers={"X-Auth-Token": "service"})
    request.json_body = {}
    assert request.get_response(api.application).json == {"tasks": [], "pause_seconds": 0.0}
