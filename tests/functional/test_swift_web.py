"""Access without a token, web sites and archives, as people use them: with curl, forms and the swift client."""

from __future__ import annotations

import hmac
import io
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import requests

from tests.functional.client import Client
from tests.functional.servers import Store

KEY = "a-key-of-the-container"


def tempurl(method: str, path: str, *options: str) -> str:
    """What the swift client makes of `swift tempurl`."""
    command = [Path(sys.executable).parent / "swift", "tempurl", *options, method, "3600", path, KEY]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_temporary_urls(store: Store, client: Client, container: str, tmp_path: Path) -> None:
    client.post(container, {"X-Container-Meta-Temp-URL-Key": KEY})
    client.put(f"{container}/dir/o", b"content", {"X-Object-Meta-Secret": "1"})
    path = f"/v1/{client.account}/{container}/dir/o"
    url = f"http://{store.host}:{store.port}" + tempurl("GET", path)
    out = tmp_path / "out"
    said = subprocess.run(
        ["curl", "-s", "-D", "-", "-o", out, url], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert out.read_bytes() == b"content"
    assert "content-disposition: attachment" in said.lower()
    assert "secret" not in said.lower()
    assert requests.put(url, data=b"x", timeout=30).status_code == 401
    assert requests.get(url.replace("dir/o", "dir/p"), timeout=30).status_code == 401
    put = f"http://{store.host}:{store.port}" + tempurl("PUT", path)
    assert requests.put(put, data=b"new", timeout=30).status_code == 201
    assert client.get(f"{container}/dir/o").body == b"new"
    prefixed = tempurl("GET", f"/v1/{client.account}/{container}/dir/", "--prefix-based")
    query = prefixed.partition("?")[2]
    assert client.anonymous().raw("GET", f"{path}?{query}").body == b"new"
    client.post(container, {"X-Container-Meta-Temp-URL-Key": "another"})
    assert client.anonymous().raw("GET", f"{path}?{query}").status == 401


def test_uploads_by_forms(store: Store, client: Client, container: str) -> None:
    client.post(container, {"X-Container-Meta-Temp-URL-Key": KEY})
    path, expires = f"/v1/{client.account}/{container}/in-", int(time.time()) + 60
    message = f"{path}\nhttp://127.0.0.1/done\n1000000\n2\n{expires}"
    fields = {
        "redirect": "http://127.0.0.1/done",
        "max_file_size": "1000000",
        "max_file_count": "2",
        "expires": str(expires),
        "signature": hmac.new(KEY.encode(), message.encode(), "sha256").hexdigest(),
    }
    files = {"file1": ("a.txt", b"one", "text/plain"), "file2": ("bild ä.png", b"\r\n--" * 100_000, "image/png")}
    url = f"http://{store.host}:{store.port}{path}"
    answer = requests.post(url, data=fields, files=files, allow_redirects=False, timeout=30)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "http://127.0.0.1/done?status=201&message="
    assert client.get(f"{container}/in-a.txt").body == b"one"
    stored = client.get(f"{container}/in-bild ä.png")
    assert (stored.body, stored.headers["content-type"]) == (b"\r\n--" * 100_000, "image/png")
    refused = requests.post(url, data=fields | {"max_file_count": "3"}, files=files, timeout=30)
    assert refused.status_code == 401


def test_a_web_site(client: Client, container: str) -> None:
    for name, content in (("index.html", b"<h1>welcome"), ("404oops.html", b"<h1>lost"), ("img/a.png", b"png")):
        client.put(f"{container}/{name}", content, {"Content-Type": "text/html"})
    web = {"Index": "index.html", "Error": "oops.html", "Listings": "true"}
    sent = {f"X-Container-Meta-Web-{name}": value for name, value in web.items()}
    assert client.post(container, sent | {"X-Container-Read": ".r:*,.rlistings"}).status == 204
    visitor, site = client.anonymous(), f"/v1/{client.account}/{container}"
    assert visitor.raw("GET", site).status == 301
    assert visitor.raw("GET", f"{site}/").body == b"<h1>welcome"
    assert visitor.raw("GET", f"{site}/none").body == b"<h1>lost"
    listing = visitor.raw("GET", f"{site}/img/")
    assert b'<a href="./a.png">a.png</a>' in listing.body
    assert visitor.raw("GET", f"{site}/img").status == 301
    assert client.get(container).lines == ["404oops.html", "img/a.png", "index.html"]


def test_an_archive_becomes_objects(client: Client, container: str) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as made:
        for name, content in (("a", b"1" * 200_000), ("dir/b", b"22")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    query, accept = {"extract-archive": "tar.gz"}, {"Accept": "application/json"}
    told = client.put(f"{container}/pre", packed.getvalue(), accept, **query).json()
    assert (told["Number Files Created"], told["Response Status"]) == (2, "201 Created")
    assert client.get(f"{container}/pre/a").body == b"1" * 200_000
    into_account = io.BytesIO()
    with tarfile.open(fileobj=into_account, mode="w") as made:
        info = tarfile.TarInfo(f"{container}-new/x")
        made.addfile(info, io.BytesIO(b""))
    assert client.put("", iter([into_account.getvalue()]), accept, **{"extract-archive": "tar"}).json()["Errors"] == []
    assert client.get(f"{container}-new").lines == ["x"]
    truncated = client.put(container, packed.getvalue()[:300], accept, **query).json()
    assert truncated["Response Status"] == "400 Bad Request"
