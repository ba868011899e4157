"""Which images pass, which do not, and why: each rule once, those that closed a hole by the hole's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.image.inspect.inspector import Inspector
from objstore.image.inspect.view import HEAD_BYTES, UnsafeImage
from tests.unit.image import bytes_of_images as made

GIB = made.GIB


def inspected(content: bytes, declared: str, container: str = "bare", piece: int = 1 << 20) -> int | None:
    """The virtual size that is found, the content given in pieces."""
    inspector = Inspector(declared, container)
    for start in range(0, len(content), piece):
        inspector.feed(content[start : start + piece])
    return inspector.finish()


GOOD = {
    "qcow2 of version 2": (made.qcow2(2, features=1 << 60), "qcow2", GIB),  # no features in that version
    "qcow2 of version 3": (made.qcow2(features=0b1011), "qcow2", GIB),
    "monolithicSparse": (made.vmdk(), "vmdk", GIB),
    "streamOptimized": (made.vmdk("streamOptimized", at_end=True), "vmdk", GIB),
    "vdi": (made.vdi(), "vdi", GIB),
    "dynamic vhd": (made.vhd(), "vhd", GIB),
    "fixed vhd": (b"disk" * 1000 + made.vhd_footer(2), "vhd", GIB),
    "fixed vhd with partitions": (made.boot_record((0x83, 2048)) + made.vhd_footer(2), "vhd", GIB),
    "vhdx": (made.vhdx(), "vhdx", GIB),
    "ploop": (made.ploop(), "ploop", GIB),
    "iso": (made.iso(), "iso", 100 * 2048),
    "iso with partitions": (made.iso(made.boot_record((0x83, 64))), "iso", 100 * 2048),
    "raw": (b"anything", "raw", 8),
    "raw, empty": (b"", "raw", 0),
    "raw with partitions": (made.boot_record((0x83, 2048)), "raw", 1 << 20),
    "raw with a GPT": (made.boot_record((0xEE, 1)), "raw", 1 << 20),
    "raw with LUKS": (made.luks(), "raw", 8192),
    "kernel": (b"bzImage", "aki", 7),
}


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("piece", [700, 1 << 20])
def test_good_images_pass(name: str, piece: int) -> None:
    content, declared, size = GOOD[name]
    assert inspected(content, declared, piece=piece) == size


SECRET = 'RW 8 SPARSE "/etc/passwd"\n'
BAD = {
    # A backing file is read by whoever opens the image: CVE-2015-5163, CVE-2015-1851, CVE-2015-7548, CVE-2016-2140.
    "CVE-2015-5163": (made.qcow2(backing=512), "qcow2", "backing file"),
    "CVE-2015-1851 in version 2": (made.qcow2(2, backing=512), "qcow2", "backing file"),
    # So is an external data file.
    "CVE-2024-32498": (made.qcow2(features=4), "qcow2", "another file"),
    "qcow2 with unknown features": (made.qcow2(features=1 << 4), "qcow2", "not known"),
    "qcow2 with far features": (made.qcow2(features=1 << 63), "qcow2", "not known"),
    "qcow2 of version 1": (made.qcow2(1), "qcow2", "version 1"),
    "qcow2 cut short": (made.qcow2()[:70], "qcow2", "ends inside"),
    "qed": (b"QED\0".ljust(100, b"\0"), "qed", "QED"),
    # The descriptor of a VMDK names the files that hold the disk.
    "CVE-2022-47951": (made.vmdk(extent="/etc/passwd"), "vmdk", "folder"),
    "CVE-2022-47951, a second extent": (made.vmdk(descriptor=made.DESCRIPTOR + SECRET), "vmdk", "folder"),
    "CVE-2022-47951, descriptor alone": (made.DESCRIPTOR.encode(), "vmdk", "descriptor inside"),
    "CVE-2022-47951, flat": (made.vmdk("monolithicFlat"), "vmdk", "monolithicFlat"),
    "vmdk with a flat extent": (made.vmdk(descriptor=made.DESCRIPTOR + 'RW 8 FLAT "x" 0\n'), "vmdk", "line"),
    "vmdk with a hint": (made.vmdk(descriptor=made.DESCRIPTOR + 'parentFileNameHint="x"\n'), "vmdk", "line"),
    "vmdk with a parent": (made.vmdk(descriptor=made.DESCRIPTOR.replace("ffffffff", "1")), "vmdk", "parent"),
    "vmdk of two types": (made.vmdk(descriptor=made.DESCRIPTOR + 'createType="vmfs"\n'), "vmdk", "line"),
    "vmdk without an extent": (made.vmdk(descriptor=made.DESCRIPTOR.replace("RW", "#")), "vmdk", "no extent"),
    "vmdk with more behind its descriptor": (made.vmdk(descriptor=made.DESCRIPTOR + "\0RW"), "vmdk", "behind"),
    "vmdk with a descriptor that is no text": (made.vmdk().replace(b"Extent", b"\xff" * 6), "vmdk", "not text"),
    "vmdk without a descriptor": (made.vmdk_header(21)[:28] + bytes(4096), "vmdk", "no descriptor"),
    "vmdk of version 4": (b"KDMV\x04" + made.vmdk()[5:], "vmdk", "version 4"),
    "vmdk of ESX 3": (b"COWD".ljust(512, b"\0"), "vmdk", "descriptor inside"),
    "vmdk with another footer": (
        made.vmdk("streamOptimized", at_end=True, footer=made.vmdk_header(99, capacity=1)),
        "vmdk",
        "footer",
    ),
    "vmdk without its footer": (made.vmdk("streamOptimized", at_end=True)[:-1024], "vmdk", "footer"),
    "vdi with a parent": (made.vdi(4), "vdi", "difference"),
    "vhd with a parent": (made.vhd(4), "vhd", "difference"),
    "vhd with a parent in its head": (made.vhd_footer(4) + bytes(4096) + made.vhd_footer(3), "vhd", "difference"),
    "vhd without a footer": (made.vhd()[:-512], "vhd", "footer"),
    "vhdx with a parent": (made.vhdx(parent=True), "vhdx", "difference"),
    "vhdx with a locator": (made.vhdx(locator=True), "vhdx", "difference"),
    "vhdx with its metadata elsewhere": (made.vhdx(metadata_at=1 << 40), "vhdx", "too far"),
    "GPT elsewhere": (made.boot_record((0xEE, 2)), "raw", "protective"),
    "two GPTs": (made.boot_record((0xEE, 1), (0xEE, 1)), "raw", "protective"),
    "luks of version 2": (made.luks(2), "raw", "LUKS of version 2"),
    # Two programs would open two different disks.
    "qcow2 that is an iso": (made.iso(made.qcow2()), "iso", "iso and qcow2|qcow2 and iso"),
    "qcow2 that has partitions": (made.qcow2()[:446] + made.boot_record((0x83, 9))[446:], "qcow2", "qcow2 and gpt"),
    "qcow2 said to be vmdk": (made.qcow2(), "vmdk", "looks like qcow2"),
    "qcow2 said to be a vhd": (made.qcow2() + made.vhd_footer(2), "vhd", "looks like qcow2"),
    "raw said to be qcow2": (b"plain", "qcow2", "looks like raw"),
    # A disk of 100 TiB in a few bytes fills the host that unpacks it.
    "CVE-2013-2096": (made.qcow2(size=100 << 40), "qcow2", "larger than the limit"),
    "CVE-2013-4463": (made.qcow2(2, size=(1 << 64) - 1), "qcow2", "larger than the limit"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("piece", [700, 1 << 20])
def test_bad_images_do_not(name: str, piece: int) -> None:
    content, declared, reason = BAD[name]
    with pytest.raises(UnsafeImage, match=reason):
        inspected(content, declared, piece=piece)


@pytest.mark.parametrize("content", [made.qcow2(backing=512), made.qcow2(features=4), made.vmdk(extent="/etc/passwd")])
def test_cve_2024_40767_and_cve_2026_24708_a_raw_disk_is_never_believed(content: bytes) -> None:
    """Whatever it begins with, it is a disk of its own size, and is opened as raw."""
    assert inspected(content, "raw") == len(content)


def test_cve_2015_5162_what_is_bad_is_refused_before_all_of_it_has_come() -> None:
    inspector = Inspector("qcow2", "bare")
    inspector.feed(made.qcow2(backing=512).ljust(HEAD_BYTES - 1, b"\0"))
    with pytest.raises(UnsafeImage, match="backing file"):
        inspector.feed(b"\0")


def test_the_bytes_of_an_archive_are_no_disk() -> None:
    assert inspected(b"tar", "qcow2", "ova") is None


def test_memory_is_bounded() -> None:
    inspector = Inspector("raw", "bare")
    for _ in range(64):
        inspector.feed(bytes(1 << 20))
    assert len(inspector._head) == HEAD_BYTES
    assert inspector.finish() == 64 << 20


@given(st.sampled_from([content for content, _, _ in GOOD.values()]), st.data())
def test_damaged_images_are_refused_or_pass_but_never_fail(content: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, min(len(content), 2048)))
    damaged = content[:place] + data.draw(st.binary(max_size=16)) + content[place + 8 :]
    declared = data.draw(st.sampled_from(["qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "raw", "ploop"]))
    try:
        size = inspected(damaged, declared)
    except UnsafeImage:
        return
    assert size is not None and 0 <= size <= 64 << 40
