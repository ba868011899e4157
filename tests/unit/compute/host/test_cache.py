"""What a machine reads of an image has been checked, wherever it came from."""

from pathlib import Path
from random import Random

import pytest

from objstore.compute.host import cache as module
from objstore.compute.host.cache import ImageCache
from objstore.compute.host.driver import MachineError
from tests.unit.compute.host.machines import MIB, Images, source

CONTENT = Random(1).randbytes(2 * MIB + 1000)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)


def test_pieces_are_fetched_once_and_only_those_asked_for(tmp_path: Path) -> None:
    images = Images({"a": CONTENT})
    cached = ImageCache(tmp_path, images).open(source("a", CONTENT))
    assert cached.read(MIB - 10, 20) == CONTENT[MIB - 10 : MIB + 10]
    assert cached.read(5, 100) == CONTENT[5:105]
    assert images.reads == [("a", 0, MIB), ("a", MIB, MIB)]
    assert cached.read(2 * MIB, 1000) == CONTENT[2 * MIB :]


def test_a_piece_on_the_disk_is_used_again_after_a_restart_if_it_is_whole(tmp_path: Path) -> None:
    ImageCache(tmp_path, Images({"a": CONTENT})).open(source("a", CONTENT)).read(0, 2 * MIB)
    with (tmp_path / "a.content").open("r+b") as file:
        file.write(b"damage")
    images = Images({"a": CONTENT})
    cached = ImageCache(tmp_path, images).open(source("a", CONTENT))
    assert cached.read(0, 2 * MIB) == CONTENT[: 2 * MIB]
    assert images.reads == [("a", 0, MIB)]


def test_a_piece_that_is_not_the_images_reaches_no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0)
    images = Images({"a": CONTENT})
    cached = ImageCache(tmp_path, images).open(source("a", CONTENT))
    images.contents["a"] = bytes(len(CONTENT))
    with pytest.raises(MachineError, match="damaged from byte 0 on"):
        cached.read(0, 10)
    assert "damaged" in cached.trouble


def test_a_machine_waits_while_the_service_is_away(tmp_path: Path) -> None:
    cached = ImageCache(tmp_path, Images({"a": CONTENT}, fail=3)).open(source("a", CONTENT))
    assert cached.read(0, 10) == CONTENT[:10]
    assert cached.trouble == ""


def test_without_digests_the_whole_image_is_checked_first(tmp_path: Path) -> None:
    images = Images({"a": CONTENT}, has_digests=False)
    assert ImageCache(tmp_path, images).open(source("a", CONTENT)).read(0, len(CONTENT)) == CONTENT
    assert images.reads == []
    with pytest.raises(MachineError, match="its digest is another"):
        ImageCache(tmp_path / "other", images).open(source("a", CONTENT[:-1] + b"x"))


def test_formats_that_do_not_boot_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="format vmdk does not boot"):
        ImageCache(tmp_path, Images({"a": CONTENT})).open(source("a", CONTENT, "vmdk"))


def test_an_image_that_no_machine_uses_goes_after_a_day(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path, Images({"a": CONTENT, "b": CONTENT}))
    for name in ("a", "b"):
        cache.open(source(name, CONTENT)).read(0, 1)
    made = (tmp_path / "a.content").stat().st_mtime
    cache.sweep({"a"}, made + module.KEPT_SECONDS + 60)
    assert {path.name for path in tmp_path.iterdir()} == {"a.content", "a.digests"}
