"""Run by the interpreter of a Swift install: builds and reads ring files through its public API.

ring_peer.py build RING FORMAT     JSON {part_power, replicas, devices} on stdin
ring_peer.py locate RING           JSON [[account, container, object], ...] on stdin;
                                   prints JSON [[partition, primaries, handoffs], ...] as device ids
"""

import json
import sys

from swift.common import utils
from swift.common.ring import Ring, RingBuilder

HASH_PREFIX, HASH_SUFFIX = b"head", b"tail"


def build(path, format_version):
    wanted = json.load(sys.stdin)
    builder = RingBuilder(wanted["part_power"], wanted["replicas"], 1)
    for device in wanted["devices"]:
        builder.add_dev(device)
    builder.rebalance(seed=1)
    builder.get_ring().save(path, format_version=int(format_version))


def rebalance():
    answers = []
    for wanted, added in json.load(sys.stdin):
        builder = RingBuilder(wanted["part_power"], wanted["replicas"], 1)
        builder.set_overload(wanted["overload"])
        rows = []
        for devices in (wanted["devices"], added):
            for device in devices:
                builder.add_dev(device)
            builder.pretend_min_part_hours_passed()
            builder.rebalance(seed=1)
            rows.append([list(row) for row in builder.get_ring()._replica2part2dev_id])
        answers.append(rows)
    json.dump(answers, sys.stdout)


def locate(path):
    utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = HASH_PREFIX, HASH_SUFFIX
    ring = Ring(path)
    answers = []
    for account, container, name in json.load(sys.stdin):
        partition, nodes = ring.get_nodes(account, container, name)
        handoffs = [node["id"] for node in ring.get_more_nodes(partition)]
        answers.append([partition, [node["id"] for node in nodes], handoffs])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    {"build": build, "rebalance": rebalance, "locate": locate}[sys.argv[1]](*sys.argv[2:])
