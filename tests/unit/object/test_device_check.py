"""A device on which nearly all objects are damaged alike goes out of service; one with many damaged files is spared."""

import os
from pathlib import Path

import pytest

from objstore.daemon import run_once
from objstore.mounts import OutOfService, out_of_service, take_out_of_service
from objstore.object.device_check import DeviceCheck
from objstore.object.engine import DEVICE_CHECK, Location, ObjectCorrupt, StorageEngine, make_engine
from objstore.object.file_engine.quarantine import PERIOD_SECONDS, QUARANTINED_MAX
from objstore.object.metadata import ATTRIBUTE
from objstore.policies import Policy
from tests.unit.object.harness import ServedFolder

GOLD = Policy(0, "gold")


def path_of(number: int) -> str:
    return f"/sda/{number % 3}/a/c/o{number}"


def fill(store: ServedFolder, count: int) -> None:
    for number in range(count):
        assert store.put(1, path=path_of(number)).status == 201


def strip(store: ServedFolder, *numbers: int) -> None:
    for number in numbers:
        (file,) = store.directory(path_of(number)).iterdir()
        os.removexattr(file, ATTRIBUTE)


def quarantined(store: ServedFolder) -> int:
    folder = store.root / "sda/quarantined/objects"
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.fixture
def engine(store: ServedFolder) -> StorageEngine:
    return make_engine("file", store.runtime, 0)


@pytest.fixture
def check(store: ServedFolder, engine: StorageEngine) -> DeviceCheck:
    return DeviceCheck(store.context(), engine)


def service(store: ServedFolder) -> OutOfService | None:
    return out_of_service(str(store.root), "sda")


def wait_a_second(store: ServedFolder) -> None:
    """So long servers believe what they have seen of a device."""
    store.server._service.devices._mounted_until.clear()


def test_a_copy_without_attributes_goes_out_of_service_with_its_first_read(store: ServedFolder) -> None:
    fill(store, 12)
    strip(store, *range(12))
    assert store.get(path_of(0)).status == 507
    assert store.get(path_of(1)).status == 507
    assert quarantined(store) == 0
    mark = service(store)
    assert mark is not None
    assert mark.by == DEVICE_CHECK
    assert mark.reasons == ("12 of 12 objects that were looked at: the attribute is missing",)
    wait_a_second(store)
    assert store.get(path_of(2)).status == 507
    assert store.put(2, path=path_of(99)).status == 507
    assert sum(b"device taken out of service" in line for line in store.lines) == 1


def test_one_damaged_object_among_sound_ones_is_quarantined(store: ServedFolder) -> None:
    fill(store, 12)
    strip(store, 0)
    assert store.get(path_of(0)).status == 404
    assert quarantined(store) == 1
    assert service(store) is None


def test_few_objects_say_nothing_of_their_device(store: ServedFolder) -> None:
    fill(store, 3)
    strip(store, 0, 1, 2)
    assert [store.get(path_of(number)).status for number in range(3)] == [404] * 3
    assert service(store) is None


def test_of_many_damaged_files_most_stay_for_the_next_minute(store: ServedFolder) -> None:
    damaged = range(QUARANTINED_MAX + 2)
    fill(store, len(damaged) * 3)
    strip(store, *damaged)
    statuses = [store.get(path_of(number)).status for number in damaged]
    assert statuses == [404] * QUARANTINED_MAX + [507] * 2
    assert quarantined(store) == QUARANTINED_MAX
    assert service(store) is None
    assert store.get(path_of(len(damaged))).status == 200
    store.clock.elapsed += PERIOD_SECONDS
    assert store.get(path_of(damaged[-1])).status == 404
    assert quarantined(store) == QUARANTINED_MAX + 1


def test_a_long_body_that_stays_breaks_off_all_the_same(store: ServedFolder, engine: StorageEngine) -> None:
    fill(store, 12)
    assert store.put(1, bytes(200_000), path_of(20)).status == 201
    (file,) = store.directory(path_of(20)).iterdir()
    with file.open("r+b") as opened:
        opened.write(b"x")
    strip(store, *range(12))
    name = path_of(20).removeprefix("/sda/2")
    location = Location(GOLD, "2", store.directory(path_of(20)).name, name)
    stored = engine.device(str(store.root / "sda")).open(location)
    with pytest.raises(ObjectCorrupt):
        list(stored.stream(0, 200_000))  # type: ignore[union-attr]
    assert file.exists()


def test_the_check_needs_no_read(store: ServedFolder, check: DeviceCheck) -> None:
    fill(store, 12)
    run_once(check)
    assert service(store) is None
    strip(store, *range(12))
    run_once(check)
    assert service(store) is not None


def test_a_device_that_is_sound_again_or_empty_is_in_service_again(store: ServedFolder, check: DeviceCheck) -> None:
    fill(store, 12)
    attributes = {}
    for number in range(12):
        (file,) = store.directory(path_of(number)).iterdir()
        attributes[file] = os.getxattr(file, ATTRIBUTE)
    strip(store, *range(12))
    run_once(check)
    run_once(check)
    assert service(store) is not None
    for file, attribute in attributes.items():
        os.setxattr(file, ATTRIBUTE, attribute)
    run_once(check)
    assert service(store) is None
    wait_a_second(store)
    assert store.get(path_of(0)).status == 200


def test_a_device_that_somebody_else_took_out_of_service_stays_out(store: ServedFolder, check: DeviceCheck) -> None:
    take_out_of_service(str(store.root), "sda", OutOfService(0.0, ("I/O errors",), "drive-audit"))
    run_once(check)
    assert service(store) is not None
    (store.root / ".sda.out-of-service").write_text("")  # by hand
    run_once(check)
    assert service(store) is not None


def test_objects_of_a_store_with_other_secrets(store: ServedFolder, check: DeviceCheck, tmp_path: Path) -> None:
    fill(store, 12)
    for number in range(12):
        directory = store.directory(path_of(number))
        directory.rename(directory.with_name(f"{number:029x}{directory.name[-3:]}"))
    run_once(check)
    mark = service(store)
    assert mark is not None
    assert "secrets" in mark.reasons[0]
