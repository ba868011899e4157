"""What answers tell of the lifecycle: when an object expires, when an upload is aborted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from objstore.proxy.s3.buckets import Bucket
from objstore.proxy.s3.handlers.object_tags import tags_of
from objstore.proxy.s3.lifecycle.decisions import abort_headers, expiration_header
from objstore.proxy.s3.lifecycle.rules import LifecycleRule, stored_rules
from objstore.proxy.s3.policy_keys import TAGS
from objstore.proxy.s3.settings_table import LIFECYCLE
from objstore.timestamps import Timestamp

if TYPE_CHECKING:
    from objstore.proxy.core.info import StoredObjectInfo
    from objstore.proxy.s3.access import Place
    from objstore.proxy.s3.settings import BucketSettings


class LifecycleHeaders:
    """Headers by the rules of the bucket in which an object lies; none where it has no rules."""

    def __init__(self, settings: BucketSettings) -> None:
        self._settings: Final = settings

    def of_stored(
        self, place: Place, size: int | None, made: Timestamp, transient: Mapping[str, str], transaction_id: str
    ) -> dict[str, str]:
        """Of an object that was stored now; nothing if its size is not known. Raises CoreError."""
        rules = self._rules(place, transaction_id)
        if not rules or size is None:
            return {}
        tags = tags_of(transient.get(TAGS, ""))
        return expiration_header(rules, place.path.object, size, made.seconds, tags)

    def of_read(self, place: Place, info: StoredObjectInfo, transaction_id: str) -> dict[str, str]:
        """Of an object that is current. Raises CoreError."""
        made = Timestamp.parse(info.version or info.timestamp)
        return self.of_stored(place, info.size, made, info.metadata.transient, transaction_id)

    def of_upload(self, place: Place, begun: Timestamp, transaction_id: str) -> dict[str, str]:
        """Of an upload that was begun then. Raises CoreError."""
        rules = self._rules(place, transaction_id)
        return abort_headers(rules, place.path.object, begun.seconds) if rules else {}

    def _rules(self, place: Place, transaction_id: str) -> tuple[LifecycleRule, ...]:
        if not place.container.sysmeta:
            return ()
        bucket = Bucket(place.path.container_path, place.container)
        document = self._settings.read(bucket, LIFECYCLE, transaction_id)
        return () if document is None else stored_rules(document)
