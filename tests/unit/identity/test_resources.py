"""Domains, projects, users, roles and grants."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.identity.service import IdentityService


@pytest.mark.parametrize(
    ("kind", "values", "change"),
    [
        ("domain", {"name": "d", "description": "x"}, {"description": "y"}),
        ("project", {"name": "p", "tags": ["a", "b"]}, {"description": "y", "tags": ["c"]}),
        ("user", {"name": "u", "email": "u@example.org"}, {"email": "v@example.org"}),
        ("role", {"name": "r", "description": "x"}, {"description": "y"}),
    ],
)
def test_a_resource_from_its_birth_to_its_end(
    identity: IdentityService, kind: str, values: dict[str, Any], change: dict[str, Any]
) -> None:
    path = f"/v3/{kind}s"
    made = identity.made(f"{kind}s", **values)
    assert values.items() <= made.items()
    assert made["links"]["self"].endswith(f"{path}/{made['id']}")
    assert identity.ask("POST", path, identity.admin, {kind: values}).status_int == 409
    one = f"{path}/{made['id']}"
    assert identity.ask("GET", one, identity.admin).json[kind] == made
    found = identity.ask("GET", f"{path}?name={values['name']}", identity.admin).json
    assert found[f"{kind}s"] == [made]
    assert set(found["links"]) == {"self", "previous", "next"}
    changed = identity.ask("PATCH", one, identity.admin, {kind: change})
    assert (changed.status_int, changed.json[kind]) == (200, made | change)
    if kind == "domain":
        assert identity.ask("DELETE", one, identity.admin).status_int == 403
        identity.ask("PATCH", one, identity.admin, {kind: {"enabled": False}})
    assert identity.ask("DELETE", one, identity.admin).status_int == 204
    assert identity.ask("GET", one, identity.admin).status_int == 404
    assert identity.ask("DELETE", one, identity.admin).status_int == 404


def test_a_name_is_no_id(identity: IdentityService) -> None:
    assert identity.ask("GET", "/v3/projects/red", identity.admin).status_int == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("projects", {"project": {}}),
        ("projects", {"project": {"name": " "}}),
        ("projects", {"project": {"name": "x" * 256}}),
        ("projects", {"project": {"name": 1}}),
        ("projects", {"user": {"name": "x"}}),
        ("projects", {"project": {"name": "x", "is_domain": True}}),
        ("projects", {"project": {"name": "x", "tags": ["a,b"]}}),
        ("users", {"user": {"name": "x", "password": "x" * 513}}),
        ("roles", {"role": {"name": "x", "domain_id": "default"}}),
    ],
)
def test_values_that_are_refused(identity: IdentityService, path: str, body: object) -> None:
    assert identity.ask("POST", f"/v3/{path}", identity.admin, body).status_int == 400


def test_what_is_named_has_to_be_there(identity: IdentityService) -> None:
    for body in ({"name": "x", "domain_id": "nowhere"}, {"name": "x", "parent_id": "nowhere"}):
        assert identity.ask("POST", "/v3/projects", identity.admin, {"project": body}).status_int == 404


def test_users_without_the_role_admin_change_nothing_and_see_little(identity: IdentityService) -> None:
    alice = identity.log_in("alice", "alice", "red")
    for method, path in (
        ("GET", "/v3/users"),
        ("GET", f"/v3/users/{identity.bob}"),
        ("GET", f"/v3/projects/{identity.blue}"),
        ("POST", "/v3/users"),
        ("PATCH", f"/v3/users/{identity.alice}"),
        ("DELETE", f"/v3/users/{identity.bob}"),
        ("PUT", f"/v3/projects/{identity.blue}/users/{identity.alice}/roles/{identity.role('admin')}"),
        ("DELETE", f"/v3/projects/{identity.blue}/users/{identity.bob}/roles/{identity.role('member')}"),
        ("GET", "/v3/role_assignments"),
        ("GET", f"/v3/role_assignments?user.id={identity.bob}"),
    ):
        assert identity.ask(method, path, alice, {} if method in ("POST", "PATCH") else None).status_int == 403, path
    for path in (f"/v3/users/{identity.alice}", f"/v3/projects/{identity.red}", "/v3/roles", "/v3/domains/default"):
        assert identity.ask("GET", path, alice).status_int == 200, path


def test_a_password_is_never_shown(identity: IdentityService) -> None:
    assert "password" not in {
        key for key in identity.made("users", name="x", password="hidden") if key != "password_expires_at"
    }


def test_projects_below_projects(identity: IdentityService) -> None:
    child = identity.made("projects", name="child", parent_id=identity.red)
    assert child["parent_id"] == identity.red
    assert identity.ask("DELETE", f"/v3/projects/{identity.red}", identity.admin).status_int == 403
    found = identity.ask("GET", f"/v3/projects?parent_id={identity.red}", identity.admin).json["projects"]
    assert [each["id"] for each in found] == [child["id"]]


def test_projects_by_tags(identity: IdentityService) -> None:
    identity.made("projects", name="tagged", tags=["a", "b"])
    found = identity.ask("GET", "/v3/projects?tags=a,b", identity.admin).json["projects"]
    assert [each["name"] for each in found] == ["tagged"]


def test_the_same_name_in_two_domains(identity: IdentityService) -> None:
    domain = identity.made("domains", name="other")["id"]
    identity.made("users", name="alice", password="other", domain_id=domain)
    assert identity.login("alice", "other", domain={"name": "other"}).status_int == 201
    assert identity.login("alice", "other").status_int == 401


def test_grants(identity: IdentityService) -> None:
    path = f"/v3/projects/{identity.red}/users/{identity.bob}/roles"
    one = f"{path}/{identity.role('reader')}"
    assert identity.ask("HEAD", one, identity.admin).status_int == 404
    assert [identity.ask("PUT", one, identity.admin).status_int for _ in range(2)] == [204, 204]
    assert identity.ask("HEAD", one, identity.admin).status_int == 204
    assert [role["name"] for role in identity.ask("GET", path, identity.admin).json["roles"]] == ["reader"]
    assert [identity.ask("DELETE", one, identity.admin).status_int for _ in range(2)] == [204, 404]
    for wrong in (
        path + "/nothing",
        path.replace(identity.bob, "nobody") + "/x",
        path.replace(identity.red, "x") + "/x",
    ):
        assert identity.ask("PUT", wrong, identity.admin).status_int == 404


def test_role_assignments(identity: IdentityService) -> None:
    path = f"/v3/role_assignments?user.id={identity.alice}&scope.project.id={identity.red}"
    plain = identity.ask("GET", path, identity.admin).json["role_assignments"]
    assert [(row["user"], row["scope"]) for row in plain] == [
        ({"id": identity.alice}, {"project": {"id": identity.red}})
    ]
    alice = identity.log_in("alice", "alice", "red")
    rows = identity.ask("GET", path + "&effective&include_names", alice).json["role_assignments"]
    assert sorted(row["role"]["name"] for row in rows) == ["member", "reader"]
    domain = {"id": "default", "name": "Default"}
    assert rows[0]["user"] == {"id": identity.alice, "name": "alice", "domain": domain}
    assert rows[0]["scope"]["project"] == {"id": identity.red, "name": "red", "domain": domain}
    of_system = identity.ask("GET", "/v3/role_assignments?scope.system=all", identity.admin).json["role_assignments"]
    assert [row["scope"] for row in of_system] == [{"system": {"all": True}}]


def test_roles_that_the_service_relies_on_stay(identity: IdentityService) -> None:
    one = f"/v3/roles/{identity.role('admin')}"
    assert identity.ask("DELETE", one, identity.admin).status_int == 403
    assert identity.ask("PATCH", one, identity.admin, {"role": {"name": "x"}}).status_int == 403


def test_a_domain_goes_with_all_that_is_in_it(identity: IdentityService) -> None:
    domain = identity.made("domains", name="other")["id"]
    project = identity.made("projects", name="p", domain_id=domain)["id"]
    user = identity.made("users", name="u", domain_id=domain)["id"]
    identity.grant(user, "member", project)
    identity.ask("PATCH", f"/v3/domains/{domain}", identity.admin, {"domain": {"enabled": False}})
    assert identity.ask("DELETE", f"/v3/domains/{domain}", identity.admin).status_int == 204
    for path in (f"projects/{project}", f"users/{user}"):
        assert identity.ask("GET", f"/v3/{path}", identity.admin).status_int == 404
    assert identity.ask("DELETE", "/v3/domains/default", identity.admin).status_int == 403


def test_the_catalog_is_read(identity: IdentityService) -> None:
    for plural in ("regions", "services", "endpoints"):
        rows = identity.ask("GET", f"/v3/{plural}", identity.admin).json[plural]
        assert rows
        one = identity.ask("GET", f"/v3/{plural}/{rows[0]['id']}", identity.admin).json
        assert one == {plural[:-1]: rows[0]}
        assert identity.ask("GET", f"/v3/{plural}/nothing", identity.admin).status_int == 404
    assert len(identity.ask("GET", "/v3/endpoints?interface=public", identity.admin).json["endpoints"]) == 2


def test_the_tables_are_those_of_the_records(identity: IdentityService) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from objstore.identity.records import Record

    with identity.state.database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Record.metadata)
    assert [each for each in differences if "alembic_version" not in str(each)] == []


def test_later_starts_change_nothing(identity: IdentityService) -> None:
    from objstore.identity.service import prepare

    assert not prepare(identity.state, identity.config)
