"""A listing of what several replicas of a container know together: pure, apart from rendering.

The replicas' pages are followed side by side, as far as all of them reach. A name whose live rows are the same on all
is listed as it is: what is live everywhere is hidden and deleted nowhere. Of every other name all rows of a majority
are merged, as databases merge them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from objstore.container.row_pages import ROWS_MAX, PageQuery, RowPage, subdir_of
from objstore.container.rows import ContainerSchema
from objstore.container.versions import VersionListing
from objstore.db.listing import Format, Listing, Query, xml_document
from objstore.db.schema import HIDDEN, LISTED
from objstore.db.tables import rows_alone
from objstore.rows import ObjectRow, merge_object_rows, precedence

SLACK_ROWS: Final = 100  # more than a page lists, since some are deleted
GROUP_ROWS: Final = 1_000  # of a group whose first row is not enough to tell whether it is listed


class Overlap(Struct):
    """What pages of several replicas cover together.

    names: in the order of the listing; contested: those whose rows differ. open_at: of a group that may have more names
    than are covered, the last one covered.
    """

    names: dict[str, list[ObjectRow]]
    contested: list[str]
    open_at: dict[str, str]
    end: str


class MergedListing:
    """Collects one page of a listing. `versions` lists all versions, from behind `version_marker` of the marker."""

    def __init__(self, query: Query, versions: bool = False, version_marker: str = "") -> None:
        self._query: Final = query
        self._versions: Final = versions
        self._version_marker: Final = version_marker
        self._listed: Final[dict[str, list[ObjectRow]]] = {}
        self._entries: Final[set[str]] = set()
        self._count = 0
        self._resume = ""
        self._group_rows = 1
        self._complete = False

    @property
    def complete(self) -> bool:
        """Whether all that the page lists is known."""
        return self._complete or self._count >= self._query.limit

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been found so far."""
        return not self._listed

    def wanted(self) -> PageQuery:
        """Which pages of rows to ask a majority of the replicas for."""
        rows = ROWS_MAX if self._resume else min(self._query.limit + SLACK_ROWS, ROWS_MAX)
        at_marker = self._versions and self._version_marker != ""
        return PageQuery(rows, self._group_rows, self._resume, self._versions, at_marker)

    def compare(self, pages: Sequence[RowPage]) -> Overlap:
        """What the replicas' pages cover together; all rows of the contested names are needed to go on."""
        reverse, by_page = self._query.reverse, [_by_name(page) for page in pages]
        ends = [page.end for page in pages if page.end]
        end = (max if reverse else min)(ends, default="")
        open_at: dict[str, str] = {}
        for names in by_page:
            for group, last in self._open_groups(names).items():
                known = open_at.get(group, last)
                open_at[group] = max(known, last) if reverse else min(known, last)
        overlap = Overlap({}, [], open_at, end)
        decided: set[str] = set()
        for name in sorted({name for names in by_page for name in names}, reverse=reverse):
            if end and _is_behind(name, end, reverse):
                break
            group = self._group_of(name)
            if group and (group in decided or _is_behind(name, open_at.get(group, name), reverse)):
                continue
            rows = [names.get(name, {}) for names in by_page]
            overlap.names[name] = list(rows[0].values())
            if all(each == rows[0] for each in rows):
                decided.add(group)
            else:
                overlap.contested.append(name)
        return overlap

    def add(self, overlap: Overlap, known: Iterable[ObjectRow]) -> None:
        """Go on by an overlap; `known` are all rows of its contested names, of a majority."""
        merged: dict[str, dict[str, ObjectRow]] = {name: {} for name in overlap.contested}
        for row in known:
            versions = merged[row.name]
            other = versions.get(row.version)
            versions[row.version] = row if other is None else merge_object_rows(other, row)
        left = dict(overlap.open_at)
        for name, same in overlap.names.items():
            group = self._group_of(name)
            rows = self._live(merged[name].values()) if name in merged else same
            if rows:
                self._list(name, group, rows)
                left.pop(group, None)
            elif left.get(group) == name:
                # All of it that is covered is deleted: whether it has more is to be seen first.
                self._resume, self._group_rows = name, GROUP_ROWS
                return
            if self.complete:
                return
        self._resume, self._complete = overlap.end, not overlap.end

    def render(self, name: str, policy_index: int, schema: ContainerSchema) -> bytes:
        """The page, as a container server renders it; `name` is the container's."""
        query = self._query
        if self._versions and not query.limit:
            return b"[]"
        with rows_alone(schema, self._classified()) as connection:
            if self._versions:
                return VersionListing(schema).read(connection, query, self._version_marker, policy_index)
            page = Listing(schema).read(connection, query, policy_index)
        return xml_document(page, schema.kind, name, schema.listed_as) if query.format is Format.XML else page

    def _group_of(self, name: str) -> str:
        """What names roll up into; on one level of a pseudo directory each stands for itself."""
        return "" if self._query.flat else subdir_of(name, self._query)

    def _open_groups(self, names: Mapping[str, object]) -> dict[str, str]:
        """Of each group of which a page has as many names as were asked for, the last one."""
        counts: dict[str, int] = {}
        found: dict[str, str] = {}
        for name in names:
            if group := self._group_of(name):
                counts[group] = counts.get(group, 0) + 1
                if counts[group] >= self._group_rows:
                    found[group] = name
        return found

    def _live(self, rows: Iterable[ObjectRow]) -> list[ObjectRow]:
        """What a page has of a name."""
        live = [row for row in rows if not row.deleted]
        if self._versions or not live:
            return live
        newest = max(live, key=precedence)
        return [] if newest.marker else [newest]

    def _list(self, name: str, group: str, rows: list[ObjectRow]) -> None:
        self._listed[name] = rows
        if group:
            self._count += group not in self._entries
            self._entries.add(group)
        elif subdir_of(name, self._query) in ("", name):
            # Of the marker's own name some versions are behind the version marker: who knows how many.
            self._count += len(rows) if not self._versions or name != self._query.marker else 0

    def _classified(self) -> Iterable[tuple[ObjectRow, int]]:
        for rows in self._listed.values():
            newest = max(rows, key=precedence)
            for row in rows:
                yield row, LISTED if row is newest and not row.marker else HIDDEN


def _by_name(page: RowPage) -> dict[str, dict[str, ObjectRow]]:
    """The rows of each name, by version."""
    found: dict[str, dict[str, ObjectRow]] = {}
    for row in page.rows:
        found.setdefault(row.name, {})[row.version] = row
    return found


def _is_behind(name: str, other: str, reverse: bool) -> bool:
    """Whether a name comes after another one in the order of the listing."""
    return name < other if reverse else name > other
