"""Finding images: one by its id, or a page of a listing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from objstore.image.access import ImageCaller, ImageNotFound, may_see
from objstore.image.model.attributes import BadValue
from objstore.image.model.listing import NUMBERS, TIMES, AttributeFilter, ListQuery
from objstore.image.model.statuses import DELETED
from objstore.image.records import ImageMember, ImageProperty, ImageRecord, ImageTag

SECOND: Final = 1_000_000
EPOCH: Final = datetime(1970, 1, 1)
NO_COLUMN: Final = frozenset({"self", "file", "schema", "direct_url", "stores", "locations", "tags", "os_hash_algo"})


def find_image(session: Session, caller: ImageCaller, image_id: str) -> ImageRecord:
    """Raises ImageNotFound, also for an image that the caller may not see."""
    image = session.get(ImageRecord, image_id)
    if image is None or image.status == DELETED or not may_see(caller, image):
        raise ImageNotFound(image_id)
    return image


def list_images(session: Session, caller: ImageCaller, query: ListQuery) -> list[ImageRecord]:
    """One page. Raises BadValue for a marker that is no image the caller may see."""
    conditions = [ImageRecord.status != DELETED, _visible(caller, query)]
    conditions += [_filtered(each) for each in query.filters]
    for name, value in query.properties:
        conditions.append(
            exists().where(
                ImageProperty.image_id == ImageRecord.id, ImageProperty.name == name, ImageProperty.value == value
            )
        )
    for tag in query.tags:
        conditions.append(exists().where(ImageTag.image_id == ImageRecord.id, ImageTag.value == tag))
    if query.marker:
        conditions.append(_after(session, caller, query))
    order = [_sorted_by(key.name).desc() if key.descending else _sorted_by(key.name).asc() for key in query.sort]
    statement = select(ImageRecord).where(*conditions).order_by(*order).limit(query.limit)
    return list(session.scalars(statement))


def _visible(caller: ImageCaller, query: ListQuery) -> ColumnElement[bool]:
    """Which images a listing shows: community images of other projects only when it asks for them."""
    own: ColumnElement[bool] = ImageRecord.owner == caller.project_id if caller.project_id else false()
    visibility = ImageRecord.visibility
    member = and_(ImageMember.image_id == ImageRecord.id, ImageMember.member == caller.project_id)
    if query.member_status != "all":
        member = and_(member, ImageMember.status == query.member_status)
    shared = and_(visibility == "shared", exists().where(member))
    seen = true() if caller.is_admin else or_(own, visibility.in_(("public", "community")), shared)
    if query.visibility == "all":
        return seen
    if query.visibility:
        return and_(seen, visibility == query.visibility)
    if query.member_status != "accepted" and not caller.is_admin:
        return shared
    return and_(seen, or_(own, visibility != "community"))


def _filtered(wanted: AttributeFilter) -> ColumnElement[bool]:
    if wanted.name == "os_hash_algo":
        return ImageRecord.os_hash_value.is_not(None) if wanted.value == "sha512" else false()
    if wanted.name in NO_COLUMN:
        return false()
    column: InstrumentedAttribute[Any] = getattr(ImageRecord, wanted.name)
    if wanted.name in TIMES:
        return _at_time(column, wanted)
    conditions: dict[str, Callable[[], ColumnElement[bool]]] = {
        "in": lambda: column.in_(wanted.value),
        "gte": lambda: column >= wanted.value,
        "lte": lambda: column <= wanted.value,
        "eq": lambda: column == wanted.value,
    }
    return conditions[wanted.comparison]()


def _at_time(column: InstrumentedAttribute[Any], wanted: AttributeFilter) -> ColumnElement[bool]:
    """Times are shown, and so compared, in whole seconds."""
    since = int((wanted.value - EPOCH).total_seconds()) * SECOND
    until = since + SECOND
    conditions: dict[str, ColumnElement[bool]] = {
        "eq": and_(column >= since, column < until),
        "neq": or_(column < since, column >= until),
        "gt": column >= until,
        "gte": column >= since,
        "lt": column < since,
        "lte": column < until,
    }
    return conditions[wanted.comparison]


def _sorted_by(name: str) -> Any:
    """What an image is sorted by; one that has no value as if it had the least."""
    column: Any = getattr(ImageRecord, name)
    if name in TIMES or name in ("id", "status"):
        return column
    return func.coalesce(column, -1 if name in NUMBERS else "")


def _after(session: Session, caller: ImageCaller, query: ListQuery) -> ColumnElement[bool]:
    """What comes behind the marker in the order asked for."""
    try:
        marker = find_image(session, caller, query.marker)
    except ImageNotFound as error:
        raise BadValue(f"Invalid marker: {query.marker:.50} is no image.") from error
    behind: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for key in query.sort:
        value = getattr(marker, key.name)
        if value is None:
            value = -1 if key.name in NUMBERS else ""
        column = _sorted_by(key.name)
        behind.append(and_(*equal, column < value if key.descending else column > value))
        equal.append(column == value)
    return or_(*behind)
