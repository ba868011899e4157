"""Tables that container.toml and account.toml have in common: the daemons of their databases."""

from msgspec import Struct

from objstore.config.units import Count, Seconds


class DatabaseReplicatorConfig(Struct, frozen=True):
    """[replicator]: brings all replicas of each database to the same state.

    Rows go in batches of `per_diff`, `max_diffs` of them to one peer in one pass; who is farther behind gets the whole
    database.
    """

    interval: Seconds = 30.0
    concurrency: Count = 8
    databases_per_second: Count = 50
    per_diff: Count = 1000
    max_diffs: Count = 100
    node_timeout: Seconds = 10.0
    reclaim_age: Seconds = 7 * 86_400.0

    def __post_init__(self) -> None:
        if not (self.concurrency and 0 < self.per_diff <= 10_000 and self.max_diffs):
            raise ValueError("concurrency, per_diff (at most 10000) and max_diffs begin at 1")


class DatabaseAuditorConfig(Struct, frozen=True):
    """[auditor]: reads every database, and sets aside those that are damaged."""

    interval: Seconds = 1800.0
    databases_per_second: Count = 200
