"""Whatever headers are called, internal ones pass in neither direction and the others pass."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from objstore.headers import INTERNAL_NAMES, INTERNAL_PREFIXES, is_internal
from objstore.http.bodies import EMPTY_BODY
from objstore.http.messages import Response, variable_of
from objstore.proxy.swift.pipeline import Gatekeeper
from objstore.proxy.swift.request import SwiftRequest

suffixes = st.text(st.sampled_from("abz-09"), max_size=8)
names = st.one_of(
    st.builds(str.__add__, st.sampled_from(INTERNAL_PREFIXES), suffixes),
    st.sampled_from(sorted(INTERNAL_NAMES)),
    st.builds(str.__add__, st.sampled_from(["X-Object-Meta-", "X-Backen", "X-Sysmeta-", "X-Remove-"]), suffixes),
)
cased = st.tuples(names, st.sampled_from([str.title, str.lower, str.upper])).map(lambda pair: pair[1](pair[0]))
headers = st.dictionaries(cased, st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=5))


@given(st.lists(st.tuples(headers, headers), min_size=1, max_size=4), st.sampled_from(["GET", "PUT"]))
def test_internal_headers_stay_inside(exchanges: list[tuple[dict[str, str], dict[str, str]]], method: str) -> None:
    gatekeeper = Gatekeeper()
    for asked, answered in exchanges:
        environ = {variable_of(name): value for name, value in asked.items()}
        wsgi = {"REQUEST_METHOD": method, "PATH_INFO": "/", "wsgi.input": EMPTY_BODY}
        request, response = SwiftRequest({**wsgi, **environ}), Response(200, dict(answered))
        gatekeeper.admit(request)
        gatekeeper.strip(response)
        assert response.headers == {name: value for name, value in answered.items() if not is_internal(name.title())}
        passed = {name for name in asked if not is_internal(name.title())}
        assert set(request.environ) == {*wsgi, *map(variable_of, passed)}
