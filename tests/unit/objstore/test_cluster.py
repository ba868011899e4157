from pathlib import Path

import pytest

from objstore.cluster import Cluster
from objstore.config.loading import ConfigError
from objstore.paths import PathHasher, ResourcePath

TEXT = """
[hash]
suffix = "secret"

[[policies]]
index = 0
name = "gold"
default = true

[[policies]]
index = 1
name = "silver"

[limits]
max_file_size = "1GiB"
"""


def test_load(tmp_path: Path) -> None:
    file = tmp_path / "objstore.toml"
    file.write_text(TEXT)
    cluster = Cluster.load(file)
    path = ResourcePath("a")
    assert cluster.hasher.digest(path) == PathHasher("", "secret").digest(path)
    assert [policy.name for policy in cluster.policies] == ["gold", "silver"]
    assert cluster.policies.default.name == "gold"
    assert cluster.limits.max_file_size == 1024**3
    assert cluster.limits.max_meta_count == 90


def test_contradicting_policies_are_named_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "objstore.toml"
    file.write_text(TEXT.replace("silver", "gold"))
    with pytest.raises(ConfigError, match=r"objstore\.toml: storage policies: name used twice: gold"):
        Cluster.load(file)


def test_a_secret_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "objstore.toml"
    file.write_text("# defaults\n")
    with pytest.raises(ConfigError, match="give a prefix or a suffix"):
        Cluster.load(file)
