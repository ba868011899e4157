"""The checker of histories, held against all orders tried one by one, and against histories known to be good or bad."""

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from tests.linearizability import ABSENT, Kind, Operation, Result, Verdict, applied, check


def put(value: str, began: float, ended: float, result: Result = Result.DONE, if_absent: bool = False) -> Operation:
    return Operation(Kind.PUT, began, ended, value, if_absent=if_absent, result=result)


def read(value: str, began: float, ended: float) -> Operation:
    return Operation(Kind.READ, began, ended, value)


def delete(value: str, began: float, ended: float, result: Result = Result.DONE) -> Operation:
    return Operation(Kind.DELETE, began, ended, value, result=result)


def replace(value: str, expected: str, began: float, ended: float, result: Result = Result.DONE) -> Operation:
    return Operation(Kind.PUT, began, ended, value, if_match=expected, result=result)


def verdict(*history: Operation) -> Verdict:
    return check(history).verdict


def test_a_read_during_a_write_may_find_either_state() -> None:
    for found in (ABSENT, "a"):
        assert verdict(put("a", 0, 10), read(found, 1, 2)) is Verdict.LINEARIZABLE


def test_a_read_after_a_write_finds_it() -> None:
    assert verdict(put("a", 0, 1), read(ABSENT, 2, 3)) is Verdict.NOT_LINEARIZABLE


def test_reads_do_not_go_back_in_time() -> None:
    assert verdict(put("a", 0, 10), read("a", 1, 2), read(ABSENT, 3, 4)) is Verdict.NOT_LINEARIZABLE


def test_two_writers_are_not_both_first() -> None:
    both = put("a", 0, 9, if_absent=True), put("b", 1, 8, if_absent=True)
    assert verdict(*both) is Verdict.NOT_LINEARIZABLE
    assert verdict(both[0], put("b", 1, 8, Result.REFUSED, if_absent=True)) is Verdict.LINEARIZABLE


def test_a_refusal_needs_something_that_was_in_the_way() -> None:
    assert verdict(put("a", 0, 1, Result.REFUSED, if_absent=True)) is Verdict.NOT_LINEARIZABLE
    assert (
        verdict(put("b", 0, 9, Result.UNKNOWN), put("a", 3, 4, Result.REFUSED, if_absent=True)) is Verdict.LINEARIZABLE
    )


def test_of_two_replacements_of_one_state_only_one_succeeds() -> None:
    first = put("a", 0, 1)
    assert verdict(first, replace("b", "a", 2, 9), replace("c", "a", 3, 8)) is Verdict.NOT_LINEARIZABLE
    assert verdict(first, replace("b", "a", 2, 9), replace("c", "a", 3, 8, Result.REFUSED)) is Verdict.LINEARIZABLE


def test_a_write_without_an_answer_may_come_late_or_never_but_not_go_again() -> None:
    late = put("a", 0, 1, Result.UNKNOWN)
    assert verdict(late, read(ABSENT, 2, 3), read("a", 4, 5)) is Verdict.LINEARIZABLE
    assert verdict(late, read(ABSENT, 2, 3)) is Verdict.LINEARIZABLE
    assert verdict(late, read("a", 2, 3), read(ABSENT, 4, 5)) is Verdict.NOT_LINEARIZABLE


def test_a_delete_says_whether_there_was_anything() -> None:
    assert verdict(put("a", 0, 1), delete("?", 2, 3), read(ABSENT, 4, 5)) is Verdict.LINEARIZABLE
    assert verdict(put("a", 0, 1), delete(ABSENT, 2, 3)) is Verdict.NOT_LINEARIZABLE


def test_a_delete_that_does_not_say_may_come_before_a_write_or_after_it() -> None:
    during = delete("?", 0, 9)
    assert verdict(during, put("a", 1, 8), read("a", 10, 11)) is Verdict.LINEARIZABLE
    assert verdict(during, put("a", 1, 8), read(ABSENT, 10, 11)) is Verdict.LINEARIZABLE


def test_a_search_that_takes_too_long_says_so() -> None:
    many = [put(f"w{each}", 0, 1, Result.UNKNOWN) for each in range(40)]
    many += [read(f"w{each % 40}", each + 2, each + 2.5) for each in range(40)]
    impossible = [*many, read("w0", 90, 91), read("w1", 92, 93)]
    assert check(impossible, seconds=0).verdict is Verdict.UNDECIDED


OPERATIONS = st.builds(
    Operation,
    kind=st.sampled_from(Kind),
    began=st.integers(0, 8).map(float),
    ended=st.integers(0, 6).map(float),
    value=st.sampled_from([ABSENT, "a", "b"]),
    if_absent=st.just(False),
    if_match=st.sampled_from([None, None, "a", "b"]),
    result=st.sampled_from(Result),
).map(
    lambda each: Operation(
        each.kind,
        each.began,
        each.began + 1 + each.ended,
        {Kind.PUT: each.value or "c", Kind.READ: each.value, Kind.DELETE: each.value and "?"}[each.kind],
        if_match=None if each.kind is Kind.READ else each.if_match,
        result=each.result if each.kind is not Kind.READ or each.result is not Result.REFUSED else Result.DONE,
    )
)


def in_some_order(history: list[Operation]) -> bool:
    """Whether any order of any subset that has all operations with known outcomes explains them."""
    known = [each for each in history if each.result is not Result.UNKNOWN]
    for order in permutations(history):
        state: str | None = ABSENT
        done: list[Operation] = []
        for each in order:
            if any(other.began > each.until for other in done):
                break
            after = applied(state, each) if state is not None else None
            if after is None:
                break
            state = after
            done.append(each)
            if all(any(each is other for other in done) for each in known):
                return True
    return not known


@given(st.lists(OPERATIONS, max_size=5))
def test_the_search_agrees_with_trying_all_orders(history: list[Operation]) -> None:
    assert (check(history).verdict is Verdict.LINEARIZABLE) == in_some_order(history)
