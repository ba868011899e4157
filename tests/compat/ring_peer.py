"""Run by the interpreter of a Swift install: builds and reads ring files through its public API.

Whoever imports it needs no configuration of Swift's from then on.

ring_peer.py build RING FORMAT     JSON {part_power, replicas, devices} on stdin
ring_peer.py rebalance             JSON [[{part_power, replicas, overload, devices}, devices added], ...] on stdin;
                                   prints JSON, for each the rows after the first rebalance, after adding, and later
ring_peer.py describe RING         prints JSON {part_power, next_part_power}
ring_peer.py locate RING           JSON [[account, container, object], ...] on stdin;
                                   prints JSON [[partition, primaries, handoffs], ...] as device ids
"""

import json
import sys

from swift.common import utils
from swift.common.ring import Ring, RingBuilder

# Those of a cluster are in /etc/swift/swift.conf, which a ring of Swift's wants to read if it has none.
utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = b"head", b"tail"
SETTLED = 4  # after so many more rebalances next to nothing moves any more


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
        stages = []
        for devices, times in ((wanted["devices"], 1), (added, 1), ([], SETTLED)):
            for device in devices:
                builder.add_dev(device)
            for _ in range(times):
                builder.pretend_min_part_hours_passed()
                builder.rebalance(seed=1)
            rows = [list(row) for row in builder.get_ring()._replica2part2dev_id]
            stages.append({"rows": rows, "dispersion": builder.dispersion})
        answers.append(stages)
    json.dump(answers, sys.stdout)


def describe(path):
    ring = Ring(path)
    json.dump({"part_power": ring.part_power, "next_part_power": ring.next_part_power}, sys.stdout)


def locate(path):
    ring = Ring(path)
    answers = []
    for account, container, name in json.load(sys.stdin):
        partition, nodes = ring.get_nodes(account, container, name)
        handoffs = [node["id"] for node in ring.get_more_nodes(partition)]
        answers.append([partition, [node["id"] for node in nodes], handoffs])
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    {"build": build, "rebalance": rebalance, "describe": describe, "locate": locate}[sys.argv[1]](*sys.argv[2:])
