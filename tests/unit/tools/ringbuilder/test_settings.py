from __future__ import annotations

import pytest

from objstore.ring.builderfile import load_builder
from objstore.ring.settings import RingSettings
from tests.unit.tools.ringbuilder.conftest import Shell


def test_create(shell: Shell) -> None:
    assert shell.done("object.builder create 10 2.5 24") == ""
    builder = load_builder("object.builder")
    assert builder.settings == RingSettings(10, 2.5, 24.0, 0.0)
    assert [entry.what for entry in builder.history] == ["create 10 2.5 24"]


def test_create_takes_the_name_of_the_ring(shell: Shell) -> None:
    shell.done("object.ring.gz create 6 3 1")
    assert list(shell.files()) == ["object.builder"]


def test_create_does_not_replace(shell: Shell) -> None:
    shell.build()
    assert "exists already" in shell.refused("object.builder create 6 3 1")


@pytest.mark.parametrize(
    ("line", "out", "settings"),
    [
        ("set_min_part_hours 12", "is now set to 12\n", RingSettings(6, 3, 12)),
        ("set_min_part_hours 0.5", "is now set to 0.5\n", RingSettings(6, 3, 0.5)),
        ("set_replicas 3.25", "The replica count is now 3.250000.\n", RingSettings(6, 3.25, 1)),
        ("set_overload 0.1", "The overload factor is now 10.00% (0.100000)\n", RingSettings(6, 3, 1, 0.1)),
        ("set_overload 10%", "The overload factor is now 10.00% (0.100000)\n", RingSettings(6, 3, 1, 0.1)),
        ("set_overload 100%", "The overload factor is now 100.00% (1.000000)\n", RingSettings(6, 3, 1, 1.0)),
    ],
)
def test_settings_are_set(shell: Shell, line: str, out: str, settings: RingSettings) -> None:
    shell.done("object.builder create 6 3 1")
    assert out in shell.done(f"object.builder {line}")
    assert load_builder("object.builder").settings == settings


def test_an_overload_that_looks_like_a_percentage_is_set_with_a_warning(shell: Shell) -> None:
    shell.done("object.builder create 6 3 1")
    answer = shell("object.builder set_overload 10")
    assert (answer.status, answer.err) == (1, "WARNING: the overload is greater than 100%\n")
    assert load_builder("object.builder").settings.overload == 10
    assert "300.00%" in shell.done("object.builder set_overload 300%")
