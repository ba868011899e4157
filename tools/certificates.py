"""objstore certificate: the authority of a cluster, and certificates of its machines, for TLS between servers."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from objstore.errors import reason_of
from objstore.tools.commands import OperatorProblem

AUTHORITY_FILE: Final = "authority.pem"
AUTHORITY_KEY_FILE: Final = "authority.key"
AUTHORITY_DAYS: Final = 3650
NODE_DAYS: Final = 365
# Clocks of a cluster differ a little.
EARLIER: Final = timedelta(hours=1)


@click.group()
def certificate() -> None:
    """Certificates for TLS between the servers of a cluster ([tls] of objstore.toml)."""


@certificate.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def authority(directory: Path) -> None:
    """Make the cluster's authority in DIRECTORY. Its key signs certificates of machines: keep it in a safe place."""
    make_authority(directory)
    click.echo(f"made {directory / AUTHORITY_FILE}, for every machine, and {directory / AUTHORITY_KEY_FILE}, for none")


@certificate.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.argument("name")
@click.argument("addresses", nargs=-1, required=True)
@click.option("--days", type=click.IntRange(1, AUTHORITY_DAYS), default=NODE_DAYS, show_default=True, help="Its life.")
def node(directory: Path, name: str, addresses: tuple[str, ...], days: int) -> None:
    """Make NAME.pem and NAME.key, the certificate of a machine whose servers have these ADDRESSES in the rings."""
    made = make_node_certificate(directory, name, addresses, days)
    click.echo(f"made {made} and {made.with_suffix('.key')}, for {name} alone")


def make_authority(directory: Path) -> None:
    """Raises OperatorProblem if there is one already."""
    if (directory / AUTHORITY_KEY_FILE).exists():
        raise OperatorProblem(f"{directory} has an authority already", "use it, or choose another folder")
    directory.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "objstore cluster")])
    made = _built(name, name, key.public_key(), AUTHORITY_DAYS).add_extension(x509.BasicConstraints(True, 0), True)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    _write(directory / AUTHORITY_FILE, made.add_extension(usage, True).sign(key, hashes.SHA256()), key)


def make_node_certificate(directory: Path, name: str, addresses: tuple[str, ...], days: int = NODE_DAYS) -> Path:
    """The file of the certificate. Raises OperatorProblem."""
    if "/" in name or name.startswith("."):
        raise OperatorProblem(f"{name!r} is no name of a file", "give the machine's name")
    try:
        issuer = x509.load_pem_x509_certificate((directory / AUTHORITY_FILE).read_bytes())
        signer = serialization.load_pem_private_key((directory / AUTHORITY_KEY_FILE).read_bytes(), None)
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise OperatorProblem(
            f"{directory} has no authority: {reason}", f"make one with: objstore certificate authority {directory}"
        ) from error
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = _built(subject, issuer.subject, key.public_key(), days)
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = made.add_extension(x509.SubjectAlternativeName([_named(each) for each in addresses]), False)
    made = made.add_extension(x509.ExtendedKeyUsage(uses), False)
    file = directory / f"{name}.pem"
    _write(file, made.sign(signer, hashes.SHA256()), key)
    return file


def _built(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _named(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _write(file: Path, made: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """The key first, readable to its owner alone, so that no certificate is without."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for path, content, mode in (
        (file.with_suffix(".key"), private, 0o600),
        (file, made.public_bytes(serialization.Encoding.PEM), 0o644),
    ):
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
            out.write(content)
