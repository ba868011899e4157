"""No words make the command fail in another way than it says, or leave files that cannot be read."""

from __future__ import annotations

import shlex

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from objstore.ring.builderfile import load_builder
from objstore.tools.ring_builder import SUBCOMMANDS
from tests.unit.tools.ringbuilder.conftest import Shell

PLACES = (
    "d0", "d5", "z1", "r1", "10.0.0.1", "-10.0.0.2", ":6200", "R:6300", "/sd3", "_shelf", "[::1]", "r1z1-[::1]:1/sda",
    "r9z9-10.9.9.9:6200R10.8.8.8:1/sdz_meta", "z3-h:1/x", "10.0.0.1:6200/sd1", "_", "/", "R", ":0", "",
)  # fmt: skip
NUMBERS = ("0", "1", "-1", "0.5", "nan", "inf", "-inf", "1e308", "1e400", "10%", "x", "2", "99999999999", "٣", "none")
OPTIONS = (
    "--yes", "-y", "--force", "--verbose", "--debug", "--seed", "--id", "--ip", "--port", "--meta", "--weight", "-w",
    "--change-meta", "--change-port", "--format-version", "--dev-id-bytes", "--help", "--", "--nothing", "-f", "-",
)  # fmt: skip
WORDS = st.lists(st.sampled_from((*PLACES, *NUMBERS, *OPTIONS)) | st.text(max_size=8), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.sampled_from(sorted(SUBCOMMANDS)), WORDS), min_size=1, max_size=4))
def test_any_words(shell: Shell, lines: list[tuple[str, list[str]]]) -> None:
    if not shell.files():
        shell.build()
    for name, words in lines:
        shell.clock.seconds += 4000
        before = shell.files()
        answer = shell(shlex.join(["object.builder", name, *(word.replace("\0", "") for word in words)]))
        assert answer.status in (0, 1, 2)
        if answer.status == 2:
            assert answer.err.splitlines()[-1].startswith("objstore-ring-builder: ")
            assert shell.files() == before
    load_builder("object.builder")
    assert shell("object.builder").status == 0
