"""Reading kernel logs, SMART reports and the figures of disks."""

from datetime import UTC, datetime

import pytest

from objstore.config.drive_audit import KERNEL_ERRORS
from objstore.tools.driveaudit.judging import (
    DiskFigures,
    LogLine,
    disk_of,
    kernel_errors,
    mean_waits,
    parse_diskstats,
    parse_journal,
    parse_kmsg,
    parse_syslog,
    smart_fails,
)

NOW = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


def test_kmsg() -> None:
    text = "3,1201,5000000,-;blk_update_request: I/O error, dev sdb, sector 8\n SUBSYSTEM=block\nbroken\n6,2,x,-;no\n"
    assert parse_kmsg(text, 100.0) == [LogLine(105.0, "blk_update_request: I/O error, dev sdb, sector 8")]


def test_journal() -> None:
    text = (
        '{"__REALTIME_TIMESTAMP":"1500000","MESSAGE":"hello"}\n'
        '{"__REALTIME_TIMESTAMP":"2000000","MESSAGE":[104,255]}\n'
        '{"__REALTIME_TIMESTAMP":"2000000","MESSAGE":null}\nnot json\n{"MESSAGE":"without time"}\n'
    )
    assert parse_journal(text) == [LogLine(1.5, "hello"), LogLine(2.0, "h\ufffd"), LogLine(2.0, "")]


def test_syslog_with_and_without_a_year() -> None:
    text = (
        "2026-01-02T11:00:00+00:00 host kernel: a\nJan  2 11:30:00 host kernel: b\nDec 31 23:00:00 host kernel: c\nx\n"
    )
    moments = [datetime.fromtimestamp(line.seconds, UTC) for line in parse_syslog(text, NOW)]
    assert moments == [
        datetime(2026, 1, 2, 11, tzinfo=UTC),
        datetime(2026, 1, 2, 11, 30, tzinfo=UTC),
        datetime(2025, 12, 31, 23, tzinfo=UTC),
    ]


def test_a_day_that_is_not_in_every_year_is_no_error() -> None:
    assert parse_syslog("Feb 29 11:30:00 host kernel: b", NOW) == []


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("blk_update_request: I/O error, dev sdb, sector 1160 op 0x0:(READ)", "sdb"),
        ("I/O error, dev nvme0n1, sector 2048 op 0x1:(WRITE) flags 0x800", "nvme0n1"),
        ("critical medium error, dev sdc, sector 300 op 0x0:(READ)", "sdc"),
        ("Buffer I/O error on dev sdb1, logical block 145, async page read", "sdb1"),
        ("Buffer I/O error on device dm-3, logical block 1", "dm-3"),
        ('XFS (sdb1): metadata I/O error in "xfs_trans_read_buf_map"', "sdb1"),
        ("XFS (dm-0): Corruption detected. Unmount and run xfs_repair", None),
        ("XFS (sdd): Filesystem has been shut down due to log error (0x2).", "sdd"),
        ("EXT4-fs error (device sda2): ext4_find_entry:1455: inode #2", "sda2"),
        ("EXT4-fs (sde1): Remounting filesystem read-only", "sde1"),
        ("BTRFS error (device sdf1: state EA): bdev /dev/sdf1 errs: wr 1", "sdf1"),
        ("sd 2:0:0:0: [sdg] tag#3 Sense Key : Medium Error [current]", "sdg"),
        ("EXT4-fs (sda1): mounted filesystem with ordered data mode", None),
        ("sd 2:0:0:0: [sdg] Attached SCSI disk", None),
        ("usb 1-1: new high-speed USB device number 5", None),
    ],
)
def test_kernel_errors_name_their_device(text: str, device: str | None) -> None:
    found = kernel_errors([LogLine(10.0, text)], KERNEL_ERRORS, 0.0)
    if "Corruption" in text:
        assert found in ({}, {"dm-0": 1})
    else:
        assert found == ({device: 1} if device else {})


def test_old_errors_and_copies_do_not_count() -> None:
    text = "I/O error, dev sdb, sector 1"
    lines = [LogLine(5.0, text), LogLine(50.0, text), LogLine(50.2, text), LogLine(60.0, text)]
    assert kernel_errors(lines, KERNEL_ERRORS, 10.0) == {"sdb": 2}


@pytest.mark.parametrize(
    ("device", "disk"),
    [
        ("sdb1", "sdb"),
        ("sdb", "sdb"),
        ("vda15", "vda"),
        ("nvme0n1p2", "nvme0n1"),
        ("nvme0n1", "nvme0n1"),
        ("dm-0", "dm-0"),
    ],
)
def test_disk_of_a_partition(device: str, disk: str) -> None:
    assert disk_of(device) == disk


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ('{"smart_status": {"passed": false}}', True),
        ('{"smart_status": {"passed": true}, "more": 1}', False),
        ('{"smartctl": {"exit_status": 2}}', False),
        ("", False),
        ("Permission denied", False),
    ],
)
def test_smart(text: str, fails: bool) -> None:
    assert smart_fails(text) is fails


def test_disks_that_are_slow() -> None:
    before = parse_diskstats(
        "   8 0 sda 100 0 800 50 10 0 80 50 0 100 100 0 0\n   8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\nbroken\n"
    )
    assert before == {"sda": DiskFigures(110, 100), "sdb": DiskFigures(0, 0)}
    after = before | {"sda": DiskFigures(130, 60_100), "sdb": DiskFigures(5, 50_000), "sdc": DiskFigures(50, 1)}
    assert mean_waits(before, after, 10) == {"sda": 3.0}
