"""Following links: how far, to what, and with whose leave."""

from __future__ import annotations

import pytest

from objstore.paths import ResourcePath
from objstore.proxy.core.errors import LinkTargetChanged, NotModified, ObjectNotFound, TooManyLinks
from objstore.proxy.core.info import StoredMetadata, StoredObjectInfo
from objstore.proxy.core.links import LINKS_MAX, Link, follow, link_of
from objstore.proxy.core.objects import GetObject

POLICY = 3


def stored(etag: str, link: Link | None = None) -> StoredObjectInfo:
    metadata = StoredMetadata(system={} if link is None else link.metadata)
    return StoredObjectInfo(0, etag, "text/plain", "1", "now", metadata=metadata)


class Objects:
    """What is stored, by name, and which paths were asked for leave."""

    def __init__(self, **objects: StoredObjectInfo) -> None:
        self.objects = objects
        self.asked: list[ResourcePath] = []

    def read(self, command: GetObject) -> StoredObjectInfo:
        if command.path.object not in self.objects:
            raise ObjectNotFound(command.path)
        return self.objects[command.path.object]

    def policy_of(self, path: ResourcePath) -> int:
        self.asked.append(path)
        return POLICY

    def follow(self, name: str, etag: str = "", static_only: bool = False) -> StoredObjectInfo:
        command = GetObject(ResourcePath("a", "c", name), 0)
        followed = follow(self.read(command), command, self.read, self.policy_of, etag=etag, static_only=static_only)
        if self.asked:
            assert followed.command == GetObject(self.asked[-1], POLICY)
        return followed.found


def to(name: str, etag: str = "", account: str = "") -> Link:
    return Link(account, "c", name, etag, "5" if etag else "")


@pytest.mark.parametrize("link", [to("o"), to("ö /x", "e"), to("o", "e", "ä b")])
def test_a_link_is_kept_in_metadata(link: Link) -> None:
    assert link_of(link.metadata) == link
    assert all(value.isascii() for value in link.metadata.values())


def test_other_objects_are_no_links() -> None:
    assert link_of({}) is None
    objects = Objects(o=stored("e"))
    assert objects.follow("o") == stored("e")
    assert objects.asked == []


def test_every_target_is_asked_for_leave() -> None:
    objects = Objects(first=stored("", to("second", account="b")), second=stored("", to("o")), o=stored("e"))
    assert objects.follow("first").etag == "e"
    assert objects.asked == [ResourcePath("b", "c", "second"), ResourcePath("b", "c", "o")]


def test_so_many_links_in_a_row_and_no_more() -> None:
    chain = {f"l{number}": stored("", to(f"l{number + 1}")) for number in range(LINKS_MAX + 1)}
    objects = Objects(**chain, **{f"l{LINKS_MAX + 1}": stored("e")})
    assert objects.follow("l1").etag == "e"
    objects.asked.clear()
    with pytest.raises(TooManyLinks):
        objects.follow("l0")
    assert len(objects.asked) == LINKS_MAX


def test_a_static_link_leads_to_one_object_only() -> None:
    objects = Objects(link=stored("", to("o", "e")), o=stored("e"))
    assert objects.follow("link").etag == "e"
    objects.objects["o"] = stored("other")
    with pytest.raises(LinkTargetChanged) as raised:
        objects.follow("link")
    assert (raised.value.path, raised.value.expected, raised.value.actual) == (
        ResourcePath("a", "c", "o"),
        "e",
        "other",
    )


def test_a_static_link_has_the_etag_of_its_target() -> None:
    objects = Objects(outer=stored("", to("inner", "e")), inner=stored("empty", to("o", "e")), o=stored("e"))
    assert objects.follow("outer").etag == "e"
    objects.objects["inner"] = stored("empty", to("o"))
    with pytest.raises(LinkTargetChanged):
        objects.follow("outer")


def test_what_the_reader_has_does_not_hide_that_the_target_has_changed() -> None:
    objects = Objects(link=stored("", to("o", "e")), o=stored("other"))
    read = objects.read

    def conditional(command: GetObject) -> StoredObjectInfo:
        found = read(command)
        if command.path.object == "o":
            raise NotModified(found)
        return found

    objects.read = conditional  # type: ignore[method-assign]
    with pytest.raises(LinkTargetChanged):
        objects.follow("link")
    objects.objects["o"] = stored("e")
    with pytest.raises(NotModified):
        objects.follow("link")


def test_a_static_link_may_be_made_to_a_dynamic_one_itself() -> None:
    objects = Objects(static=stored("", to("dynamic", "empty")), dynamic=stored("empty", to("nowhere")))
    assert objects.follow("static", "empty", static_only=True) == objects.objects["dynamic"]
    with pytest.raises(LinkTargetChanged):
        objects.follow("static", "other", static_only=True)
