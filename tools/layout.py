"""The files a store or cluster is made of: secrets, objstore.toml, users, rings, devices."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from objstore.config.cluster import ClusterTlsConfig
from objstore.config.encryption_keys import SECRET_BYTES, EncryptionKey, EncryptionKeys, encoded_secret
from objstore.config.users import User
from objstore.devices import Device
from objstore.policies import BadPolicies, Policies, Policy
from objstore.ring.rings import ACCOUNT_FILE, CONTAINER_FILE, object_file
from objstore.system import files
from objstore.tools.build_rings import RingOrder
from objstore.tools.commands import OperatorProblem

CLUSTER_FILE: Final = "objstore.toml"
NO_TLS: Final = ClusterTlsConfig()
USERS_FILE: Final = "users.toml"
ACCESS_KEYS_FILE: Final = "access-keys.json"
ENCRYPTION_KEYS_FILE: Final = "encryption-keys.json"
RING_SEED: Final = 1
RING_SUFFIX: Final = ".ring.gz"
BUILDER_SUFFIX: Final = ".builder"
ENCRYPTION_KEY_ID_BYTES: Final = 8
ASKED_POLICY: Final = re.compile(r"(?P<name>[A-Za-z0-9-]+)=ec:(?P<data>[0-9]{1,3})\+(?P<parity>[0-9]{1,3})")
PARTITIONS_PER_DEVICE: Final = 64
PART_POWER_MIN: Final = 8

# Known to everybody who reads the documentation, so they are given to stores on a loopback address only.
DEVELOPMENT_USERS: Final = (
    User("test", "tester", "testing", (".admin",)),
    User("test", "tester2", "testing2", (".admin",)),
    User("test", "tester3", "testing3"),
    User("test2", "tester2", "testing2", (".admin",)),
    User("test5", "tester5", "testing5", ("service",)),
    User("admin", "admin", "admin", (".admin", ".reseller_admin")),
)


def store_policies(replicas: int, asked: Sequence[str] = ()) -> dict[Policy, int]:
    """The storage policies of a new store, with the number of replicas of each.

    `asked` are further ones, or others in the place of those, as in "photos=ec:4+2". Raises OperatorProblem.
    """
    gold = Policy(0, "gold", default=True, consistency="strong")
    found = {policy.name: policy for policy in (gold, Policy(1, "silver"))}
    for text in asked:
        match = ASKED_POLICY.fullmatch(text)
        if match is None:
            raise OperatorProblem(f"--policy {text}: not NAME=ec:DATA+PARITY", "give it as in --policy photos=ec:4+2")
        before = found.get(match["name"], Policy(len(found), match["name"], consistency="strong"))
        found[before.name] = msgspec.structs.replace(
            before, kind="erasure_coding", data_fragments=int(match["data"]), parity_fragments=int(match["parity"])
        )
    try:
        Policies(list(found.values()))
    except BadPolicies as error:
        raise OperatorProblem(str(error), "choose another --policy") from None
    counts = {"gold": replicas, "silver": max(replicas - 1, 1)}
    return {policy: policy.replicas or counts[policy.name] for policy in found.values()}


def quoted(text: str) -> str:
    """A TOML string: JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def cluster_text(policies: Iterable[Policy], tls: ClusterTlsConfig = NO_TLS) -> str:
    """A new objstore.toml, with secrets that no other has."""
    lines = [
        "# What all servers of this cluster must agree on.",
        "",
        "# These place items on partitions. Keep them secret and never change them: the data would be lost.",
        "[hash]",
        f"prefix = {quoted(new_secret())}",
        f"suffix = {quoted(new_secret())}",
    ]
    for policy in policies:
        lines += ["", "[[policies]]", f"index = {policy.index}", f"name = {quoted(policy.name)}"]
        lines += ["default = true"] if policy.default else []
        lines += [f"consistency = {quoted(policy.consistency)}"] if policy.is_strong else []
        if policy.kind != "replication":
            lines += [f"kind = {quoted(policy.kind)}", f"ec_type = {quoted(policy.ec_type)}"]
            lines += [f"data_fragments = {policy.data_fragments}", f"parity_fragments = {policy.parity_fragments}"]
    if tls.mode != "off":
        lines += ["", "[tls]", f"mode = {quoted(tls.mode)}", f"authority = {quoted(tls.authority)}"]
        lines += [f"certificate = {quoted(tls.certificate)}", f"key = {quoted(tls.key)}"]
    return "\n".join(lines) + "\n"


def users_text(users: Iterable[User]) -> str:
    lines = ["# Who may ask for a token. Groups: .admin of the account, .reseller_admin of all accounts."]
    for user in users:
        groups = ", ".join(quoted(group) for group in user.groups)
        lines += ["", "[[users]]", f"account = {quoted(user.account)}", f"name = {quoted(user.name)}"]
        lines += [f"key = {quoted(user.key)}", f"groups = [{groups}]"]
    return "\n".join(lines) + "\n"


def new_secret() -> str:
    """256 bits from the system's generator, in hexadecimal."""
    return secrets.token_hex(32)


def new_encryption_key(alias: str = "") -> EncryptionKey:
    """A secret made at random."""
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return EncryptionKey(
        secrets.token_hex(ENCRYPTION_KEY_ID_BYTES), encoded_secret(secrets.token_bytes(SECRET_BYTES)), created, alias
    )


def with_new_root(keys: EncryptionKeys) -> EncryptionKeys:
    """The keys and a new root secret, which is the active one. Raises ValueError if there are too many."""
    root = new_encryption_key()
    return EncryptionKeys(root.id, (*keys.keys, root))


def write_private(path: Path, text: str) -> None:
    """A file that only its owner may read, there as a whole or not at all. Blocks; durable on return."""
    unfinished = path.with_name(f".{path.name}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        files.write_all(descriptor, text.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(unfinished, path)
    files.fsync_directory(str(path.parent))


def part_power_for(device_count: int) -> int:
    """How many partitions (as a power of two) spread data evenly over so many devices."""
    return max((device_count * PARTITIONS_PER_DEVICE - 1).bit_length(), PART_POWER_MIN)


def write_rings(
    directory: Path,
    devices: Mapping[str, Sequence[Device]],
    replicas: int,
    policies: Mapping[Policy, int],
    with_builders: bool = False,
) -> None:
    """Build the ring files of a new cluster; `devices` by service: "account", "container", "object".

    With builders, each ring's builder file is put beside it, so that the ring can be changed later.

    Raises OperatorProblem. The work is done in a process of its own, so that the libraries it needs take no
    memory in the servers that follow.
    """
    plan = [(ACCOUNT_FILE, devices["account"], replicas), (CONTAINER_FILE, devices["container"], replicas)]
    plan += [(object_file(policy.index), devices["object"], count) for policy, count in policies.items()]
    for _, members, count in plan:
        if count > len(members):
            raise OperatorProblem(
                f"{count} replicas need as many devices, and there are {len(members)}",
                "ask for fewer replicas or more devices",
            )
    orders = [
        RingOrder(
            str(directory / name),
            part_power_for(len(members)),
            count,
            RING_SEED,
            members,
            str(directory / name.replace(RING_SUFFIX, BUILDER_SUFFIX)) if with_builders else "",
        )
        for name, members, count in plan
    ]
    built = subprocess.run(
        [sys.executable, "-m", "objstore.tools.build_rings"], input=msgspec.json.encode(orders), capture_output=True
    )
    if built.returncode != 0:
        reason = built.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise OperatorProblem(f"{directory}: the rings could not be built: {reason}", "this is a fault of objstore")
