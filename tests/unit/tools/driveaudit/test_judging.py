"""Which devices are bad, and how they go out of service."""

import json
from pathlib import Path

import msgspec
import pytest

from objstore.config.drive_audit import DevicesAuditConfig, DriveAuditConfig, SlowConfig
from objstore.config.units import Reserve
from objstore.logs import get_logger
from objstore.mounts import DeviceRoot, DeviceUnavailable, out_of_service_file
from objstore.operators.machine import Mount
from objstore.tools.driveaudit.command import act, mounts_below
from objstore.tools.driveaudit.judging import DriveVerdict, Evidence, judge

MOUNT = Mount("/dev/sdb1", "/srv/node/d1", "xfs", False)
NOTHING = Evidence({}, (), {})
CONFIG = DriveAuditConfig()


def test_nothing_against_it() -> None:
    others = Evidence({"sdc": 9, "sdb2": 3, "sdbx": 1}, {"sdc"}, {"sdb": 0.1, "sdc": 9.0})
    assert judge("d1", MOUNT, CONFIG, NOTHING) is None
    assert judge("d1", MOUNT, CONFIG, others) is None


@pytest.mark.parametrize("named", ["sdb", "sdb1"])
def test_errors_of_the_partition_or_its_disk(named: str) -> None:
    verdict = judge("d1", MOUNT, CONFIG, Evidence({named: 2}, (), {}))
    assert verdict is not None
    assert verdict.remove
    assert verdict.reasons == ("2 errors in the kernel's log",)


def test_a_disk_that_says_so_itself() -> None:
    verdict = judge("d1", MOUNT, CONFIG, Evidence({}, {"sdb"}, {}))
    assert verdict is not None
    assert verdict.remove


def test_slow_disks_are_only_reported_unless_wanted() -> None:
    evidence = Evidence({}, (), {"sdb": 5.0})
    verdict = judge("d1", MOUNT, CONFIG, evidence)
    assert verdict is not None
    assert not verdict.remove
    strict = msgspec.structs.replace(CONFIG, slow=SlowConfig(remove=True))
    again = judge("d1", MOUNT, strict, evidence)
    assert again is not None
    assert again.remove


def test_mounts_of_the_root_alone(tmp_path: Path) -> None:
    here = Mount("/dev/sdb1", f"{tmp_path}/d1", "xfs", False)
    others = [Mount("/dev/sda1", "/", "ext4", False), Mount("/dev/sdc1", f"{tmp_path}/d1/below", "xfs", False)]
    assert mounts_below(str(tmp_path), [here, *others]) == {"d1": here}


def test_a_bad_device_goes_out_of_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("d1", "d2"):
        (tmp_path / name).mkdir()
    config = DriveAuditConfig(devices=DevicesAuditConfig(root=str(tmp_path), unmount_failed_device=False))
    verdicts = [DriveVerdict("d1", MOUNT, ("bad",), True), DriveVerdict("d2", MOUNT, ("slow",), False)]
    act(config, verdicts, get_logger("drive-audit"))
    assert json.loads(Path(out_of_service_file(str(tmp_path), "d1")).read_text())["reasons"] == ["bad"]
    devices = DeviceRoot(str(tmp_path), False, Reserve())
    with pytest.raises(DeviceUnavailable):
        devices.path("d1")
    assert devices.path("d2") == f"{tmp_path}/d2"
