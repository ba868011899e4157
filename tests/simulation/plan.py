"""What is to happen in a simulation, drawn from its seed in advance, so that parts of it can be left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

SECONDS_PER_HOUR: Final = 3600.0
# Beyond the numbers of any plan: the checkers' own requests.
CHECK_NUMBER: Final = 10**6

# Whether the store keeps what a strong policy promises: then the checks demand it.
STRONG_IS_KEPT: Final = True
STRONG_POLICIES: Final = ("strong", "coded")
OPERATIONS_PER_HOUR: Final = 70
FAULTS_PER_HOUR: Final = 5.0
MACHINES: Final = 7  # storage nodes and proxies
# By name, with the policy of each and how often what is done concerns it. Those of the second kind come and go; those
# of the third belong to another account, which may be deleted.
POLICIES: Final = {
    "c0": "gold",
    "c1": "gold",
    "c2": "silver",
    "d0": "silver",
    "e0": "gold",
    "f0": "coded",
    "g0": "striped",
    "s0": "strong",
}
WEIGHTS: Final = {"c0": 30, "c1": 30, "c2": 25, "d0": 12, "e0": 6, "f0": 15, "g0": 10, "s0": 10}
OBJECTS: Final = {"c": 12, "d": 4, "e": 4, "f": 4, "g": 4, "s": 4}
# For these many clients contend. The store promises an order of what is done only where the policy is strong.
CONTENDED: Final = {"s0/h0": 3, "s0/h1": 3, "f0/h0": 3, "f0/h1": 2, "c0/h0": 2}
RACES_PER_HOUR: Final = 38
RACES: Final = {
    "race_put": 20,
    "race_put absent": 15,
    "race_put match": 20,
    "race_delete": 8,
    "race_delete match": 7,
    "race_get": 30,
}
# Here are objects that stand for others.
COMPOSITES: Final = "m0"
COMPOSITE_OPERATIONS_PER_HOUR: Final = 8
# In these versions of objects are kept.
VERSIONED: Final = {"v0": "gold", "w0": "strong", "x0": "coded"}
# In these objects are uploaded in parts.
UPLOADS: Final = {"u0": "gold", "t0": "strong", "r0": "coded"}
UPLOAD_OPERATIONS_PER_HOUR: Final = 7
POLICY_OF: Final = POLICIES | VERSIONED | UPLOADS | {COMPOSITES: "gold"}
VERSION_OPERATIONS_PER_HOUR: Final = 22
VERSION_OPERATIONS: Final = {
    "v_put": 34,
    "v_delete": 12,
    "v_restore": 5,
    "v_remove": 16,
    "v_get": 14,
    "v_list": 5,
    "v_switch": 4,
    "post": 6,
    "get": 4,
}
# These destroy copies, or move them: what a quorum had may then not be on the next one.
DISRUPTIVE: Final = ("flip", "wipe", "ring", "disk")
OPERATIONS: Final = {
    "put": 34,
    "put_large": 3,
    "put_expiring": 6,
    "delete": 13,
    "post": 10,
    "post_expiring": 4,
    "get": 14,
    "head": 4,
    "list": 6,
    "copy": 6,
    "create": 5,
    "vacate": 4,
    "account": 1,
}
FAULTS: Final = {
    "blackout": 14,
    "crash": 10,
    "crash_at": 16,
    "kill": 6,
    "crash_proxy": 4,
    "cut": 10,
    "conditions": 14,
    "disk": 12,
    "unmount": 5,
    "wipe": 8,
    "flip": 16,
    "clock": 4,
    "ring": 7,
}


@dataclass(frozen=True)
class Event:
    """Something that happens at a time; `number` names it in traces and tells operations apart."""

    at: float
    number: int
    kind: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def is_fault(self) -> bool:
        return self.kind in FAULTS

    def __str__(self) -> str:
        details = " ".join(f"{key}={value}" for key, value in self.details.items())
        return f"#{self.number} {self.kind} {details}"


@dataclass(frozen=True)
class Plan:
    """The clocks' errors in seconds, by node, and all events in order."""

    seed: str
    hours: float
    skews: tuple[float, ...]
    events: tuple[Event, ...]


def is_strong(name: str) -> bool:
    """Whether the policy of an object's container promises an order of what is done."""
    return STRONG_IS_KEPT and POLICY_OF[name.partition("/")[0]] in STRONG_POLICIES


def is_versioned(name: str) -> bool:
    """Whether versions of objects are kept in the container of an object."""
    return name.partition("/")[0] in VERSIONED


def make_plan(seed: str, hours: float) -> Plan:
    """Draw it."""
    random = Random(f"{seed}/plan")
    largest = random.choice((0.0, 0.5, 60.0, 7200.0))
    skews = tuple(round(random.uniform(-largest, largest), 3) for _ in range(MACHINES))
    operations = _operations(random, hours)
    operations += _races(random, hours)
    operations += _of_composites(random, hours)
    operations += _of_versions(random, hours)
    operations += _of_uploads(random, hours)
    events = operations + _faults(random, hours, [at for at, _, _ in operations])
    events.sort(key=lambda event: event[0])
    numbered = tuple(Event(at, number, kind, details) for number, (at, kind, details) in enumerate(events, 1))
    return Plan(seed, hours, skews, numbered)


def _drawn(random: Random, weights: dict[str, int]) -> str:
    return random.choices(list(weights), list(weights.values()))[0]


_Draft = tuple[float, str, dict[str, Any]]


def _operations(random: Random, hours: float) -> list[_Draft]:
    containers = enumerate(POLICY_OF)
    events: list[_Draft] = [(1.0 + n, "create", {"container": name, "proxy": 0}) for n, name in containers]
    if random.random() < 0.5:
        events.append((random.uniform(0.1, 0.9) * hours * SECONDS_PER_HOUR, "drop_account", {"proxy": 1}))
    left = int(hours * OPERATIONS_PER_HOUR)
    while left > 0:
        # In bursts: what happens at the same time is what goes wrong.
        start = random.uniform(10.0, hours * SECONDS_PER_HOUR)
        burst = min(left, random.choice((1, 2, 4, 8, 16)))
        spread = random.choice((0.01, 1.0, 60.0))
        hot = random.random() < 0.4
        name = _object(random)
        for _ in range(burst):
            kind = _drawn(random, OPERATIONS)
            details = _details(random, kind, name if hot else _object(random))
            events.append((start + random.uniform(0, spread), kind, details))
        left -= burst
    return events


def _races(random: Random, hours: float) -> list[_Draft]:
    events: list[_Draft] = []
    while len(events) < hours * RACES_PER_HOUR:
        start = random.uniform(10.0, hours * SECONDS_PER_HOUR)
        spread = random.choice((0.01, 0.1, 1.0, 10.0))
        name = _drawn(random, CONTENDED)
        for _ in range(random.choice((4, 8, 16))):
            kind, _, condition = _drawn(random, RACES).partition(" ")
            details = {"name": name, "proxy": random.randrange(2), "condition": condition}
            if kind == "race_put":
                details["size"] = random.choice((24, 100, 5000))
            events.append((start + random.uniform(0, spread), kind, details))
        # Those who look later may be sent to a replica that has missed it all.
        for kind in ("race_get", "race_list", "race_list"):
            details = {"name": name, "proxy": random.randrange(2), "condition": ""}
            events.append((start + spread + random.choice((1.0, 60.0, 400.0)) * random.random(), kind, details))
    return events


def _of_versions(random: Random, hours: float) -> list[_Draft]:
    events: list[_Draft] = [
        (12.0 + n, "v_switch", {"container": c, "enabled": "true", "proxy": 0}) for n, c in enumerate(VERSIONED)
    ]
    while len(events) < hours * VERSION_OPERATIONS_PER_HOUR:
        start = random.uniform(80.0, hours * SECONDS_PER_HOUR)
        spread = random.choice((0.1, 10.0, 600.0))
        container = random.choice(list(VERSIONED))
        name = f"{container}/o{random.randrange(4)}"
        for _ in range(random.choice((1, 2, 4, 8))):
            kind = _drawn(random, VERSION_OPERATIONS)
            details: dict[str, Any] = {"name": name, "proxy": random.randrange(2)}
            match kind:
                case "v_put":
                    details["size"] = random.choice((24, 100, 5000))
                case "v_get" | "v_remove" | "v_restore":
                    details["pick"] = random.randrange(100)
                case "v_list" | "v_switch":
                    enabled = random.choice(("true", "true", "false"))
                    details = {"container": container, "proxy": details["proxy"], "enabled": enabled}
                case "post" | "get":
                    details |= {"typed": False, "newest": False}
            events.append((start + random.uniform(0, spread), kind, details))
    return events


def _of_composites(random: Random, hours: float) -> list[_Draft]:
    events: list[_Draft] = []
    while len(events) < hours * COMPOSITE_OPERATIONS_PER_HOUR:
        start, spread = random.uniform(20.0, hours * SECONDS_PER_HOUR), random.choice((0.1, 10.0, 600.0))
        for _ in range(random.choice((1, 2, 4))):
            kind = _drawn(random, {"m_put": 40, "m_link": 15, "m_delete": 15, "m_get": 30})
            details: dict[str, Any] = {"proxy": random.randrange(2), "name": f"{COMPOSITES}/b{random.randrange(4)}"}
            match kind:
                case "m_put":
                    sizes = [random.choice((24, 96, 4800, 72000)) for _ in range(random.randint(2, 4))]
                    details |= {"sizes": sizes, "static": random.random() < 0.6}
                    details["changed"] = random.random() < 0.3
                case "m_link":
                    details["target"] = f"c1/o{random.randrange(OBJECTS['c'])}"
                case "m_delete":
                    details["segments"] = random.random() < 0.5
            events.append((start + random.uniform(0, spread), kind, details))
    return events


def _of_uploads(random: Random, hours: float) -> list[_Draft]:
    events: list[_Draft] = []
    while len(events) < hours * UPLOAD_OPERATIONS_PER_HOUR:
        start, spread = random.uniform(20.0, hours * SECONDS_PER_HOUR), random.choice((0.1, 10.0, 600.0))
        for _ in range(random.choice((1, 2, 4))):
            kind = _drawn(random, {"u_put": 55, "u_over": 10, "u_delete": 15, "u_get": 20})
            name = f"{random.choice(list(UPLOADS))}/b{random.randrange(3)}"
            details: dict[str, Any] = {"proxy": random.randrange(2), "name": name}
            if kind == "u_put":
                details["sizes"] = [random.choice((24, 96, 4800, 72000)) for _ in range(random.randint(1, 4))]
                details["again"] = random.randrange(4)
                details["end"] = _drawn(random, {"complete": 50, "again": 15, "abort": 15, "both": 10, "leave": 10})
            events.append((start + random.uniform(0, spread), kind, details))
    return events


def _object(random: Random) -> str:
    container = _drawn(random, WEIGHTS)
    return f"{container}/o{random.randrange(OBJECTS[container[0]])}"


def _details(random: Random, kind: str, name: str) -> dict[str, Any]:
    proxy = random.randrange(2)
    container = name.partition("/")[0]
    after = random.choice((30, 600, 7200, 30000))
    match kind:
        case "put" | "put_expiring":
            details = {"name": name, "size": random.choice((24, 100, 5000, 40000)), "proxy": proxy}
            if kind == "put_expiring":
                details["after"] = after
            return details
        case "put_large":
            return {"name": name, "size": random.randint(66000, 400000), "proxy": proxy}
        case "post" | "post_expiring":
            details = {"name": name, "proxy": proxy, "typed": random.random() < 0.4}
            return details | {"after": after} if kind == "post_expiring" else details
        case "copy":
            return {"name": name, "source": _object(random), "proxy": proxy}
        case "list":
            return {"container": container, "proxy": proxy}
        case "create" | "vacate":
            return {
                "container": random.choice(sorted(set(POLICIES) - {"c0"})) if kind == "create" else "d0",
                "proxy": proxy,
            }
        case "account":
            return {"proxy": proxy}
        case "get" | "head":
            return {"name": name, "proxy": proxy, "newest": random.random() < 0.3}
    return {"name": name, "proxy": proxy}


def _faults(random: Random, hours: float, busy: list[float]) -> list[_Draft]:
    events: list[_Draft] = []
    seconds = hours * SECONDS_PER_HOUR
    disrupted = random.choice((0.0, 0.6, 0.6, 1.0)) * seconds
    busy_early = [at for at in busy if at < disrupted]
    for _ in range(int(hours * FAULTS_PER_HOUR)):
        kind = _drawn(random, FAULTS)
        while kind in DISRUPTIVE and not busy_early:
            kind = _drawn(random, FAULTS)
        moments, end = (busy_early, disrupted) if kind in DISRUPTIVE else (busy, seconds)
        # Most of them when something is being done: a quiet cluster is hard to hurt.
        if random.random() < 0.7:
            at = max(random.choice(moments) + random.choice((0.05, 0.3, 3.0, 20.0)) * random.random(), 5.0)
        else:
            at = random.uniform(5.0, end * 0.98)
        lasting = round(random.choice((2.0, 30.0, 300.0, 3600.0)) * random.uniform(0.5, 2), 1)
        events.append((at, kind, _fault_details(random, kind, lasting)))
    return events


def _fault_details(random: Random, kind: str, lasting: float) -> dict[str, Any]:
    node = random.randrange(1000)  # taken modulo the nodes there are
    match kind:
        case "crash_at":
            return {"node": node, "changes": random.randint(1, 120), "seconds": lasting}
        case "conditions":
            rates = {name: round(random.choice((0, 0.02, 0.2)) * random.random(), 4) for name in ("lost", "broken")}
            rates["repeated"] = round(random.choice((0, 0.1, 0.5)) * random.random(), 4)
            rates["delayed"] = round(random.choice((0.05, 0.3)) * random.random(), 4)
            return {"seconds": lasting, **rates}
        case "disk":
            state = random.choice(("full", "readonly", "failing", "failing"))
            return {"disk": node, "state": state, "rate": round(random.random() ** 2, 3), "seconds": lasting}
        case "cut":
            ways = random.choice(("both", "both", "in", "out"))
            return {"node": node, "ways": ways, "seconds": lasting}
        case "unmount" | "wipe":
            return {"disk": node, "seconds": lasting}
        case "flip":
            return {"disk": node, "what": random.choice(("data", "data", "attribute", "database")), "pick": node * 7}
        case "clock":
            return {"node": node, "jump": round(random.choice((0.3, 30, 4000)) * random.uniform(-1, 1), 3)}
        case "ring":
            change = random.choice(("add", "remove", "weight", "weight"))
            return {"change": change, "pick": node, "spread": random.choice((0.0, 20.0, 1200.0))}
    return {"node": node, "seconds": lasting}
