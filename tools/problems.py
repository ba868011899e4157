"""What an operator can put right, said in one line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from objstore.errors import StoreError


@dataclass(eq=False)
class OperatorProblem(StoreError):
    """A command cannot do what it was asked: what stands in the way, and what to do about it."""

    message: ClassVar[str] = "{reason}; {remedy}"

    reason: str
    remedy: str
