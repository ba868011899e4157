from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.devices import Device
from objstore.ring.errors import BuilderError
from objstore.tools.ringbuilder.arguments import describe, parse_addition, parse_change, parse_search

DEVICE = Device(74, 4, 1, "1.2.3.4", 5678, "5.6.7.8", 5679, "sdb1", 100.0, "snet: shiny")
OTHER = Device(7, 14, 11, "1.2.3.40", 567, "5.6.7.80", 9, "sdb11", 10.0, "dull")


@pytest.mark.parametrize(
    "word",
    [
        "d74",
        "r4",
        "z1",
        "z1-1.2.3.4",
        "1.2.3.4",
        "-1.2.3.4",
        "z1:5678",
        ":5678",
        "R5.6.7.8",
        "R:5679",
        "R5.6.7.8:5679",
        "1.2.3.4R5.6.7.8",
        "/sdb1",
        "_shiny",
        "_snet: ",
        "d74r4z1-1.2.3.4:5678R5.6.7.8:5679/sdb1_snet: shiny",
        "r4/sdb1",
        "d74_shiny",
    ],
)
def test_a_search_finds_the_device_it_describes_and_no_other(word: str) -> None:
    search = parse_search(word)
    assert search.matches(DEVICE)
    assert not search.matches(OTHER)


@pytest.mark.parametrize("word", ["[::1]", "[0:0::1]", "z1-[::1]:5678", "-[::1]"])
def test_addresses_of_version_6_are_found_however_they_are_written(word: str) -> None:
    device = msgspec.structs.replace(DEVICE, ip="::1")
    assert parse_search(word).matches(device)
    assert not parse_search(word).matches(DEVICE)


def test_hosts_are_found_by_name() -> None:
    device = msgspec.structs.replace(DEVICE, ip="storage-1.example.com", replication_ip="fast.example.com")
    assert parse_search("z1-storage-1.example.com:5678Rfast.example.com").matches(device)
    assert not parse_search("-storage-2.example.com").matches(device)


@pytest.mark.parametrize(
    "word", ["", "xyz", "d", "z", "z1-", ":", "R", "/", "_", "d1d2", "z1r1", "1.2.3.4:x", "d" + "9" * 5000]
)
def test_what_is_no_search_is_refused(word: str) -> None:
    with pytest.raises(BuilderError, match="invalid search value"):
        parse_search(word)


def test_an_addition_has_all_parts_a_device_needs() -> None:
    device = parse_addition("r4z1-1.2.3.4:5678R5.6.7.8:5679/sdb1_snet: shiny").device_of(74, 100.0)
    assert device == DEVICE


def test_what_an_addition_may_leave_out() -> None:
    device = parse_addition("z1-[0::1]:6200/sdb1").device_of(3, 1.5)
    assert device == Device(3, 1, 1, "::1", 6200, "::1", 6200, "sdb1", 1.5, "")
    assert parse_addition("r1z1-1.2.3.4:5R6.7.8.9/sdb").device_of(0, 1).replication_port == 5
    assert parse_addition("r1z1-1.2.3.4:5/sdb_a_b").device_of(0, 1).meta == "a_b"


@pytest.mark.parametrize(
    "word",
    ["garbage", "r1-1.2.3.4:5/sda", "r1z1-1.2.3.4/sda", "r1z1-1.2.3.4:5", "r1z1-1.2.3.4:5/", "d1r1z1-1.2.3.4:5/sda"],
)
def test_an_addition_that_lacks_something_is_refused(word: str) -> None:
    with pytest.raises(BuilderError, match="it must be"):
        parse_addition(word)


def test_a_change_leaves_what_it_does_not_name() -> None:
    assert parse_change("1.1.1.1").of(DEVICE) == msgspec.structs.replace(DEVICE, ip="1.1.1.1")
    assert parse_change(":99").of(DEVICE) == msgspec.structs.replace(DEVICE, port=99)
    assert parse_change("R:99/sdx_").of(DEVICE) == msgspec.structs.replace(
        DEVICE, replication_port=99, device="sdx", meta=""
    )


@pytest.mark.parametrize("word", ["", "d1", "1.2.3.4:x", "host"])
def test_what_is_no_change_is_refused(word: str) -> None:
    with pytest.raises(BuilderError, match="invalid change"):
        parse_change(word)


@pytest.mark.parametrize("word", ["r1z1-1.2.3.4:5/s\x07a", "r1z1-1.2.3.4:5/sda_a\nb", "r1z1-1.2.3.4:5/sda_\udcff"])
def test_what_cannot_be_shown_in_one_line_is_refused(word: str) -> None:
    with pytest.raises(BuilderError):
        parse_addition(word)


NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1)
ADDRESSES = st.one_of(st.ip_addresses().map(str), st.just("host-1.example.com"))
PORTS = st.integers(1, 65535)
DEVICES = st.builds(
    Device,
    id=st.integers(0, 999_999),
    region=st.integers(0, 1000),
    zone=st.integers(0, 1000),
    ip=ADDRESSES,
    port=PORTS,
    replication_ip=ADDRESSES,
    replication_port=PORTS,
    device=NAMES,
    weight=st.just(1.0),
    meta=NAMES,
)


@given(DEVICES, DEVICES)
def test_the_description_of_a_device_finds_it_alone(device: Device, other: Device) -> None:
    search = parse_search(describe(device).replace('"', ""))
    assert search.matches(device)
    assert not search.matches(other) or describe(other) == describe(device) or device.meta in other.meta
