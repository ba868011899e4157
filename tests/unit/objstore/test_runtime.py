from random import Random

import pytest

from objstore.logs import Logger, Sink
from objstore.runtime import Runtime


def test_each_part_can_be_given() -> None:
    log = Logger("test", Sink())
    runtime = Runtime(log, random=Random(7))
    assert runtime.log is log
    assert runtime.random.random() == Random(7).random()
    assert runtime.clock.timestamp() < runtime.clock.timestamp()
    with pytest.raises(AttributeError):
        runtime.random = Random(8)  # type: ignore[misc]


def test_two_runtimes_share_nothing() -> None:
    log = Logger("test", Sink())
    assert Runtime(log).metrics is not Runtime(log).metrics
