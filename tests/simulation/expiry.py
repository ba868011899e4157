"""When objects may have expired, and when they must have: all clocks are wrong, and clients' writes race with it."""

from __future__ import annotations

from typing import Final

from tests.simulation.clients import PATIENCE_SECONDS
from tests.simulation.model import Kind, Model, ObjectModel, Write
from tests.simulation.node import EPOCH
from tests.simulation.services import OTHER_PREFIX
from tests.simulation.world import World

SLACK_SECONDS: Final = 5.0


class Expiry:
    """Of the objects of a model, at the moment of asking."""

    def __init__(self, world: World, model: Model) -> None:
        self._world = world
        self._model = model

    def may_be_gone(self, model: ObjectModel, write: Write | None) -> bool:
        """Whether, with this as its newest write, the object may not be there."""
        if write is None or write.kind is Kind.DELETE:
            return True
        if self._model.account_dropped and model.name.startswith(OTHER_PREFIX):
            return True  # the reaper has had it
        if self._had_expired(model, write):
            return True
        # Its proxy is late: by its own time it was written before an older version expired, which has happened.
        if any(due <= write.at + self._spread() + PATIENCE_SECONDS for due in model.expires_after(write)):
            return True
        now = EPOCH + self._world.hub.now + self._spread()
        return any(moment is not None and moment <= now for moment in _moments(model, write))

    def must_be_gone(self, model: ObjectModel, write: Write) -> bool:
        """Whether the object has expired by every clock."""
        now = EPOCH + self._world.hub.now - self._spread()
        return all(moment is not None and moment <= now for moment in _moments(model, write))

    def _had_expired(self, model: ObjectModel, data: Write) -> bool:
        """Whether it may have been deleted, as it had to be, before a POST came that would have kept it."""
        return any(
            before.delete_at is not None
            and before.delete_at <= float(after.timestamp.partition("_")[0]) + self._spread() + PATIENCE_SECONDS
            for before, after in model.changes_of_metadata(data)
        )

    def _spread(self) -> float:
        return self._world.spread_seconds + SLACK_SECONDS


def _moments(model: ObjectModel, data: Write) -> list[float | None]:
    """When it may expire: a POST that says nothing of it keeps it for ever."""
    return [each.delete_at for each in model.metadata_candidates(data)]
