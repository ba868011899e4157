"""TLS between the servers of a cluster: which files are taken, and that they are read again."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.cluster_tls import CHECK_SECONDS, ClusterTls
from objstore.config.cluster import ClusterTlsConfig
from objstore.config.loading import ConfigError
from objstore.http.errors import HttpError
from objstore.http.handshake import HELLO, PROVE, Handshake, Reception
from objstore.http.messages import HEALTHCHECK
from objstore.tools.certificates import AUTHORITY_FILE, AUTHORITY_KEY_FILE, make_authority, make_node_certificate
from objstore.tools.commands import OperatorProblem


def files_of(folder: Path, *addresses: str) -> ClusterTlsConfig:
    if not (folder / AUTHORITY_FILE).exists():
        make_authority(folder)
    made = make_node_certificate(folder, "node1", addresses or ("10.0.0.1",))
    return ClusterTlsConfig("require", str(folder / AUTHORITY_FILE), str(made), str(made.with_suffix(".key")))


def agree(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "10.0.0.1") -> str | None:
    """Let both sides speak in memory; why they do not agree."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    try:
        for _ in range(4):
            for side in sides:
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    pass
        sides[1].write(b"x")
        assert sides[0].read(1) == b"x"
    except ssl.SSLError as error:
        return str(error)
    return None


def test_servers_of_one_authority_agree(tmp_path: Path) -> None:
    tls = ClusterTls(files_of(tmp_path))
    assert (tls.used, tls.required) == (True, True)
    assert agree(tls.client, tls.server) is None


def test_another_address_is_not_taken(tmp_path: Path) -> None:
    tls = ClusterTls(files_of(tmp_path, "10.0.0.2", "host.example"))
    assert "IP address mismatch" in str(agree(tls.client, tls.server))
    assert agree(tls.client, tls.server, "host.example") is None


@pytest.mark.parametrize("stranger", ["client", "server"])
def test_certificates_of_another_authority_are_not_taken(tmp_path: Path, stranger: str) -> None:
    ours, theirs = ClusterTls(files_of(tmp_path / "ours")), ClusterTls(files_of(tmp_path / "theirs"))
    client, server = (theirs.client, ours.server) if stranger == "client" else (ours.client, theirs.server)
    assert agree(client, server) is not None


def test_a_client_without_a_certificate_is_not_taken(tmp_path: Path) -> None:
    tls = ClusterTls(files_of(tmp_path))
    anybody = ssl.create_default_context(cafile=str(tmp_path / AUTHORITY_FILE))
    assert agree(anybody, tls.server) is not None


@pytest.mark.parametrize(("mode", "used", "required"), [("accept", False, False), ("use", True, False)])
def test_modes(tmp_path: Path, mode: str, used: bool, required: bool) -> None:
    config = files_of(tmp_path)
    tls = ClusterTls(ClusterTlsConfig(mode, config.authority, config.certificate, config.key))  # type: ignore[arg-type]
    assert (tls.used, tls.required) == (used, required)


def test_a_renewed_certificate_is_used(tmp_path: Path) -> None:
    now = [0.0]
    tls = ClusterTls(files_of(tmp_path, "10.0.0.1"), lambda: now[0])
    former = tls.server
    files_of(tmp_path, "10.0.0.9")
    assert tls.server is former  # it looks now and then
    now[0] += CHECK_SECONDS
    assert agree(tls.client, tls.server, "10.0.0.9") is None


def test_files_that_do_not_fit_are_left_alone(tmp_path: Path) -> None:
    now = [0.0]
    config = files_of(tmp_path)
    tls = ClusterTls(config, lambda: now[0])
    former = tls.server
    Path(config.key).write_bytes(b"half")
    now[0] += CHECK_SECONDS
    assert tls.server is former


def _remove(path: Path) -> None:
    path.unlink()


def _spoil(path: Path) -> None:
    path.write_text("none")


@pytest.mark.parametrize("file", [AUTHORITY_FILE, "node1.pem", "node1.key"])
@pytest.mark.parametrize("harm", [_remove, _spoil])
def test_files_that_cannot_be_used_are_named(tmp_path: Path, file: str, harm: Callable[[Path], None]) -> None:
    config = files_of(tmp_path)
    harm(tmp_path / file)
    with pytest.raises(ConfigError, match=file):
        ClusterTls(config)


def test_keys_are_readable_to_their_owner_alone(tmp_path: Path) -> None:
    files_of(tmp_path)
    for name in (AUTHORITY_KEY_FILE, "node1.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_an_authority_is_made_once(tmp_path: Path) -> None:
    make_authority(tmp_path)
    with pytest.raises(OperatorProblem, match="has an authority"):
        make_authority(tmp_path)
    with pytest.raises(OperatorProblem, match="no name of a file"):
        make_node_certificate(tmp_path, "../a", ("10.0.0.1",))
    with pytest.raises(OperatorProblem, match="has no authority"):
        make_node_certificate(tmp_path / "none", "a", ("10.0.0.1",))


@pytest.mark.parametrize("path", ["/", HEALTHCHECK])
@pytest.mark.parametrize("method", [HELLO, PROVE])
def test_where_it_is_required_nobody_is_greeted_without(tmp_path: Path, method: str, path: str) -> None:
    handshake = Handshake(b"k" * 32, tls=ClusterTls(files_of(tmp_path)))
    greeting = {"REQUEST_METHOD": method, "PATH_INFO": path, "HTTP_X_BACKEND_NONCE": "0" * 32}
    with pytest.raises(HttpError, match="TLS"):
        Reception(handshake).receive(greeting)
    assert Reception(handshake).receive({"REQUEST_METHOD": "GET", "PATH_INFO": HEALTHCHECK}) is None
