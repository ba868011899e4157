"""Records of updates: which of one object a container can do without."""

from itertools import product

from objstore.object.container_updates.pending import outdoes
from objstore.rows import ObjectRow, merge_object_rows
from tests.unit.object.harness import at


def test_a_row_outdoes_another_when_a_container_that_has_it_learns_nothing_more() -> None:
    rows = [
        ObjectRow("o", at(data), 1, content_type, etag, deleted, 0, typed, posted)
        for data, content_type, (etag, deleted) in product((1, 3), ("a", "b"), (("e", False), ("", True)))
        for typed, posted in product(("", at(2), at(4)), ("", at(2), at(4)))
        if all(not each or each > at(data) for each in (typed, posted))
    ]
    for row, other in product(rows, rows):
        if outdoes(row, other):
            assert merge_object_rows(row, other) == merge_object_rows(other, row) == row
    newest = ObjectRow("o", at(5), 1, "a", "e")
    assert all(outdoes(newest, row) and not outdoes(row, newest) for row in rows)
    assert not outdoes(newest, ObjectRow("o", at(1), 1, "a", "e", policy_index=1))
