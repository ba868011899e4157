"""A real Keystone issues the tokens and access keys of a store: python -m tests.compat.keystone FOLDER.

Installs Keystone from PyPI into FOLDER/venv, makes users, starts a store that asks it, and tries what they may do.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from objstore.client.identity import IdentityClient, ServiceUser
from objstore.proxy.auth.identity_service import TOKEN_SECONDS
from tests.functional.client import Client
from tests.functional.servers import Store, free_port
from tests.waiting import elapse, wait_until

VERSION: Final = "30.0.0"
SERVER: Final = """
import os, sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIServer, make_server
sys.argv, port = ["keystone"], int(sys.argv[1])
from keystone.server.wsgi import initialize_public_application
class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
make_server("127.0.0.1", port, initialize_public_application(), server_class=Server).serve_forever()
"""


def main(folder: Path) -> None:
    """Raises AssertionError at the first thing that is not as it should be."""
    port = free_port()
    keystone = start(folder, port)
    store = Store(folder / "store")
    try:
        walk(IdentityClient(f"http://127.0.0.1:{port}/v3", ServiceUser("admin", "sesame", project="admin")), store)
    finally:
        keystone.kill()
        store.kill()
    print("all is as it should be")


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """Keystone with a database of SQLite, its administrator's password "sesame"."""
    programs = folder / "venv/bin"
    if not programs.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([programs / "pip", "install", "-q", f"keystone=={VERSION}"], check=True)
    configuration = folder / "keystone.conf"
    sections = {"fernet_tokens": "tokens", "fernet_receipts": "receipts", "credential": "credentials"}
    text = "".join(f"[{section}]\nkey_repository = {folder}/{name}\n" for section, name in sections.items())
    configuration.write_text(f"[database]\nconnection = sqlite:///{folder}/keystone.sqlite\n{text}")
    url = f"http://127.0.0.1:{port}/v3"
    for words in (
        ["db_sync"],
        ["fernet_setup", "--keystone-user", "root", "--keystone-group", "root"],
        ["credential_setup", "--keystone-user", "root", "--keystone-group", "root"],
        ["bootstrap", "--bootstrap-password", "sesame", "--bootstrap-public-url", url],
    ):
        subprocess.run([programs / "keystone-manage", "--config-file", configuration, *words], check=True)
    environment = {"OS_KEYSTONE_CONFIG_FILES": str(configuration)}
    with (folder / "keystone.log").open("ab") as log:
        command = [programs / "python", "-c", SERVER, str(port)]
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)


def walk(admin: IdentityClient, store: Store) -> None:
    """Users of Keystone write, read and sign, each as far as their roles go."""
    wait_until(lambda: _answers(admin), "keystone", 60)
    made = {
        f"{kind} {name}": admin.request("POST", f"/{kind}s", {kind: {"name": name, "password": name}})[kind]["id"]
        for kind, name in (
            ("project", "service"),
            ("project", "red"),
            ("user", "store"),
            ("user", "alice"),
            ("user", "bob"),
        )
    }
    roles = {role["name"]: role["id"] for role in admin.request("GET", "/roles")["roles"]}
    for project, user, role in (("service", "store", "admin"), ("red", "alice", "member"), ("red", "bob", "reader")):
        path = f"/projects/{made[f'project {project}']}/users/{made[f'user {user}']}/roles/{roles[role]}"
        admin.request("PUT", path)
    store.make("[hash]", "[hash]")
    with (store.folder / "proxy.toml").open("a") as file:
        file.write(f'\n[identity]\nurl = "{admin.url}"\nuser = "store"\npassword = "store"\n')
    store.start()
    alice, bob = (IdentityClient(admin.url, ServiceUser(name, name, project="red")) for name in ("alice", "bob"))
    account = f"AUTH_{made['project red']}"
    owner, reader = (Client(store.host, store.port, account=account, token=each.log_in().text) for each in (alice, bob))
    assert [owner.put("c").status, owner.put("c/o", b"x").status, reader.get("c/o").body] == [201, 201, b"x"]
    assert reader.put("c/p", b"x").status == 403
    body = {"tenant_id": made["project red"]}
    key = alice.request("POST", f"/users/{made['user alice']}/credentials/OS-EC2", body)["credential"]
    assert _s3(store, key["access"], key["secret"]).get_object(Bucket="c", Key="o")["Body"].read() == b"x"
    try:
        _s3(store, "f" * 32, key["secret"]).list_buckets()
    except ClientError as error:
        assert "InvalidAccessKeyId" in str(error)
    admin.request("DELETE", "/auth/tokens", headers={"X-Subject-Token": alice.log_in().text})
    elapse(TOKEN_SECONDS + 1, "the store remembers tokens for so long")
    assert owner.get("c/o").status == 401


def _answers(client: IdentityClient) -> bool:
    try:
        return bool(client.log_in().text)
    except Exception:
        return False


def _s3(store: Store, access: str, secret: str) -> object:
    config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 0})
    keys = {"aws_access_key_id": access, "aws_secret_access_key": secret}
    return boto3.client("s3", endpoint_url=store.url, region_name="us-east-1", config=config, **keys)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
