from objstore.operators.machine import Mount, parse_load, parse_memory, parse_mounts, parse_sockets

MOUNTS = r"""/dev/sda1 / ext4 rw,relatime 0 0
/dev/sdb1 /srv/node/d\040one xfs ro,noatime 0 0
broken
"""
SOCKETS = """sockets: used 300
TCP: inuse 12 orphan 1 tw 3 alloc 20 mem 5
UDP: inuse 2 mem 1
"""


def test_mounts() -> None:
    assert parse_mounts(MOUNTS) == [
        Mount("/dev/sda1", "/", "ext4", False),
        Mount("/dev/sdb1", "/srv/node/d one", "xfs", True),
    ]


def test_memory_keeps_its_units() -> None:
    assert parse_memory("MemTotal:   16 kB\nHugePages_Total:  0\n") == {"MemTotal": "16 kB", "HugePages_Total": "0"}


def test_load() -> None:
    assert parse_load("0.10 0.20 0.30 2/345 6789\n") == {
        "1m": 0.1,
        "5m": 0.2,
        "15m": 0.3,
        "tasks": "2/345",
        "processes": 6789,
    }


def test_sockets() -> None:
    assert parse_sockets(SOCKETS, "TCP6: inuse 4\n") == {
        "tcp_in_use": 12,
        "orphan": 1,
        "time_wait": 3,
        "tcp_mem_allocated_bytes": 20480,
        "tcp6_in_use": 4,
    }


def test_a_kernel_without_ipv6() -> None:
    assert parse_sockets(SOCKETS, "")["tcp6_in_use"] == 0
