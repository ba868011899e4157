"""Runs tempest's tests of the image API, version 2, on a store of its own: python -m tests.compat.tempest_image TEMPEST

TEMPEST is the program `tempest` of an environment that has it. What it prints at the end are tempest's own counts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from tests.functional.client import Client
from tests.functional.cloud.image_server import CONTAINER, ImageServer
from tests.functional.cloud.tiny_identity import tiny_identity
from tests.functional.servers import Store

CONFIG: Final = """
[DEFAULT]
log_dir = {folder}
[auth]
use_dynamic_credentials = false
test_accounts_file = {folder}/accounts.yaml
[identity]
uri_v3 = {identity}
auth_version = v3
region = R
[image]
region = R
disk_formats = raw,ami,ari,aki,raw,ami,qcow2
container_formats = bare,ami,ari,aki,ovf
http_image = {web}/image.raw
http_qcow2_image = {web}/image.qcow2
[image-feature-enabled]
import_image = true
os_glance_reserved = true
image_format_enforcement = false
[service_available]
glance = true
nova = false
neutron = false
cinder = false
swift = false
horizon = false
[oslo_concurrency]
lock_path = {folder}
"""
ACCOUNT: Final = "- {{username: {0}, project_name: {1}, password: p, domain_name: Default, roles: [{2}]{3}}}\n"


def run(tempest: str, *arguments: str) -> int:
    """The exit status of tempest."""
    folder = Path(tempfile.mkdtemp(prefix="tempest-"))
    (folder / "web").mkdir()
    (folder / "web/image.raw").write_bytes(b"raw" * 100_000)
    (folder / "web/image.qcow2").write_bytes(
        b"QFI\xfb\0\0\0\3".ljust(24, b"\0") + (1 << 30).to_bytes(8, "big") + bytes(480)
    )
    store = Store(folder / "store")
    store.start()
    owner = Client.login(store.host, store.port)
    for container in (CONTAINER, f"{CONTAINER}-s3"):
        assert owner.put(container).status == 201
    with (
        tiny_identity({}) as identity,
        ThreadingHTTPServer(
            ("127.0.0.1", 0), lambda *given: SimpleHTTPRequestHandler(*given, directory=str(folder / "web"))
        ) as web,
    ):
        threading.Thread(target=web.serve_forever, daemon=True).start()
        images = ImageServer(folder, store, web.server_address[1])
        identity.catalog["image"] = images.url
        images.start(identity.url)
        accounts = ""
        for number in range(4):
            accounts += ACCOUNT.format(f"admin{number}", f"a{number}", "admin", ", types: [admin]")
            accounts += ACCOUNT.format(f"reader-a{number}", f"a{number}", "reader", "")
        for number in range(6):
            accounts += ACCOUNT.format(f"tester{number}", f"p{number}", "member", "")
            accounts += ACCOUNT.format(f"reader{number}", f"p{number}", "reader", "")
        (folder / "accounts.yaml").write_text(accounts)
        web_url = f"http://127.0.0.1:{web.server_address[1]}"
        (folder / "tempest.conf").write_text(CONFIG.format(folder=folder, identity=identity.url, web=web_url))
        own = ["--workspace-path", str(folder / "workspaces.yaml")]
        subprocess.run([tempest, "init", *own, str(folder / "work")], check=True, capture_output=True)
        chosen = arguments or ("--regex", r"^tempest\.api\.image\.v2")
        command = [tempest, "run", *own, "--config-file", str(folder / "tempest.conf"), "--concurrency", "2", *chosen]
        status = subprocess.run(command, cwd=folder / "work", check=False).returncode
        images.end()
        web.shutdown()
    store.stop()
    print(f"what it wrote is in {folder}")
    return status


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
