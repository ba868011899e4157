"""What `objstore recon` makes of answers."""

from typing import Any

from objstore.devices import Device
from objstore.tools.recon import reports
from objstore.tools.recon.asking import ReconAnswer, ReconServer, servers_of
from objstore.tools.recon.reports import REPORTS, Statistics, statistics

ONE, TWO, THREE = (ReconServer("object", f"10.0.0.{number}", 6200) for number in (1, 2, 3))


def answers(*values: Any) -> list[ReconAnswer]:
    return [
        ReconAnswer(server, value, asked=100.0, answered=101.0)
        for server, value in zip((ONE, TWO), values, strict=True)
    ]


FAILED = ReconAnswer(THREE, failure="timed out")


def test_servers_are_asked_once_at_their_replication_address() -> None:
    devices = [
        Device(number, 1, number % 2, "10.0.0.1", 6200, "10.1.0.1", 6300 + number % 2, f"d{number}", 1.0)
        for number in range(4)
    ]
    assert servers_of("object", devices, None, None) == [
        ReconServer("object", "10.1.0.1", 6300),
        ReconServer("object", "10.1.0.1", 6301),
    ]
    assert servers_of("object", devices, 1, 1) == [ReconServer("object", "10.1.0.1", 6301)]
    assert servers_of("object", devices, 2, None) == []


def test_statistics() -> None:
    assert statistics([1, None, 3], failed=1) == Statistics(1, 3, 2.0, 4, 2, 1, 1)
    assert statistics([None], failed=0) == Statistics(0.0, 0.0, 0.0, 0.0, 0, 1, 0)


def test_numbers_say_who_failed() -> None:
    report = reports.numbers("async", REPORTS["async"], [*answers({"async_pending": 2}, {"async_pending": 4}), FAILED])
    assert report.data["summary"]["async_pending"]["total"] == 6
    assert report.data["servers"]["object 10.0.0.3:6200"] == {"error": "timed out"}
    assert report.wrong == ["object 10.0.0.3:6200: timed out"]


def test_replication_is_in_seconds_for_all_kinds() -> None:
    extract = REPORTS["replication"].extract
    assert extract("object", {"replication_time": 1.5}) == {"replication_seconds": 90.0}
    assert extract("account", {"replication_time": 1.5}) == {"replication_seconds": 1.5}
    assert extract("object", {"replication_time": None}) == {"replication_seconds": None}


def test_auditors_tell_all_their_numbers_but_no_moments() -> None:
    found = REPORTS["auditor"].extract(
        "object", {"report": {"started": 9.0, "pass_seconds": 2, "counts": {"passed": 3}}}
    )
    assert found == {"auditor_pass_seconds": 2, "auditor_counts_passed": 3}
    assert REPORTS["auditor"].extract("object", {"report": {}}) == {"auditor_pass_seconds": None}


def test_unmounted() -> None:
    report = reports.unmounted(answers([], [{"device": "d7", "mounted": False}]))
    assert report.wrong == ["object 10.0.0.2:6200: d7 is not mounted, or out of service"]


def disk(name: str, used: int) -> dict[str, Any]:
    return {"device": name, "mounted": True, "size": 1000, "used": used, "avail": 1000 - used}


def test_disk_usage_shows_the_fullest_and_the_emptiest() -> None:
    absent = {"device": "x", "mounted": False, "size": "", "used": "", "avail": ""}
    given = answers([disk("a", 100), disk("b", 900)], [disk("c", 500), absent])
    report = reports.disk_usage(given, top=1, lowest=1, human_readable=False)
    assert [row[:3] for row in report.table.rows[:2]] == [("fullest", "10.0.0.1", "b"), ("emptiest", "10.0.0.1", "a")]
    assert report.data["summary"]["percent"]["average"] == 50.0
    assert report.data["summary"]["histogram"] == {"10-20%": 1, "50-60%": 1, "90-100%": 1}


def test_digests_differ_or_are_missing() -> None:
    given = answers({"/etc/x/object.ring.gz": "aa"}, {"/etc/x/account.ring.gz": "bb"})
    report = reports.digests("md5", given, {"object.ring.gz": "ab"})
    assert report.wrong == [
        "object 10.0.0.1:6200: object.ring.gz differs",
        "object 10.0.0.2:6200: object.ring.gz is missing",
    ]
    assert reports.digests("md5", given[:1], {"object.ring.gz": "aa"}).wrong == []


def test_files_of_rings_that_are_not_used() -> None:
    path = "/etc/x/object.ring.gz"
    given = answers(
        {path: {"md5": "ab", "version": 3, "problem": "not a valid ring file"}},
        {path: {"md5": "", "version": None, "problem": "cannot be read"}},
    )
    report = reports.rings("md5", given, {"object.ring.gz": "ab"})
    assert report.wrong == [
        "object 10.0.0.2:6200: object.ring.gz is missing",
        f"object 10.0.0.1:6200: {path} is not the ring in use: not a valid ring file",
        f"object 10.0.0.2:6200: {path} is not the ring in use: cannot be read",
    ]
    assert report.data["servers"]["object 10.0.0.1:6200"][path]["version"] == 3


def test_servers_that_are_something_else() -> None:
    given = answers({"server": "object", "version": "1"}, {"server": "account", "version": "2"})
    assert reports.validate(given).wrong == ["object 10.0.0.2:6200: it is a server of kind account"]
    assert reports.versions(given).data["summary"] == {"versions": ["1", "2"]}


def test_clocks() -> None:
    assert reports.clocks(answers(100.5, 101.0)).wrong == []
    assert reports.clocks(answers(99.0, 104.0)).wrong == [
        "object 10.0.0.1:6200: its clock is 1.00000 s behind",
        "object 10.0.0.2:6200: its clock is 3.00000 s ahead",
    ]
    assert reports.clocks(answers(99.0, 104.0), jitter_seconds=3.0).wrong == []


def test_readable_bytes() -> None:
    assert [reports.readable_bytes(count) for count in (0, 1023, 1536, 2 << 40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "2 TiB",
    ]
