"""What `objstore cloud up` writes: configuration that is read, and passwords that stay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from objstore.config.identity import IdentityConfig
from objstore.config.loading import load, loads
from objstore.config.proxy import ProxyConfig
from objstore.tools.cloud.services import PORTS, SERVICES, CloudPlan, identity_config
from objstore.tools.cloud.up import clouds_yaml, passwords_of, prepare_store, welcome


@pytest.fixture
def plan(tmp_path: Path) -> CloudPlan:
    return CloudPlan(tmp_path, "127.0.0.1", PORTS, passwords_of(tmp_path / "passwords.json"))


def test_passwords_are_made_once_and_are_nobody_elses_to_read(tmp_path: Path) -> None:
    file = tmp_path / "passwords.json"
    made = passwords_of(file)
    assert {"admin", "demo", "store"} <= set(made)
    assert len(set(made.values())) == len(made)
    assert file.stat().st_mode & 0o077 == 0
    assert passwords_of(file) == made
    file.write_text(json.dumps({"admin": "chosen"}))
    assert passwords_of(file)["admin"] == "chosen"
    assert set(passwords_of(file)) == set(made)


def test_the_catalog_has_every_service(plan: CloudPlan) -> None:
    config = loads(identity_config(plan), IdentityConfig, environ={})
    assert [entry.type for entry in config.catalog] == [each.type for service in SERVICES for each in service.catalog]
    assert config.catalog[0].url == "http://127.0.0.1:8080/v1/AUTH_{project_id}"
    assert (config.url, str(config.server.bind)) == ("http://127.0.0.1:5000", "127.0.0.1:5000")
    assert config.first_start.password == plan.passwords["admin"]


def test_the_store_asks_the_identity_service_of_this_start(plan: CloudPlan) -> None:
    prepare_store(plan)
    file = plan.folder / "store/proxy.toml"
    before = file.read_text()
    config = load(file, ProxyConfig, environ={}).identity
    assert (config.url, config.user) == ("http://127.0.0.1:5000/v3", "store")
    moved = CloudPlan(plan.folder, plan.host, {name: port + 1 for name, port in PORTS.items()}, plan.passwords)
    prepare_store(moved)
    assert load(file, ProxyConfig, environ={}).identity.url == "http://127.0.0.1:5001/v3"
    prepare_store(plan)
    assert file.read_text() == before


def test_a_proxy_that_asks_another_identity_service_keeps_to_it(plan: CloudPlan) -> None:
    prepare_store(plan)
    file = plan.folder / "store/proxy.toml"
    own = '[identity]\nurl = "http://keystone:5000/v3"\nuser = "swift"\n'
    file.write_text(file.read_text().partition("# Made by")[0] + own)
    prepare_store(plan)
    assert load(file, ProxyConfig, environ={}).identity.url == "http://keystone:5000/v3"


def test_each_command_names_its_configuration(plan: CloudPlan) -> None:
    for service in SERVICES:
        assert "{" not in " ".join(service.command(plan))
        assert (service.config is not None) == (str(service.config_file(plan)) in service.command(plan))


def test_clients_are_told_where_it_is_and_the_screen_shows_no_password(plan: CloudPlan) -> None:
    clouds = json.loads(clouds_yaml(plan))["clouds"]
    assert clouds["demo"]["auth"]["password"] == plan.passwords["demo"]
    assert clouds["admin"]["auth"]["auth_url"] == "http://127.0.0.1:5000/v3"
    shown = welcome(plan)
    assert "clouds.yaml" in shown
    assert [password for password in plan.passwords.values() if password in shown] == []
