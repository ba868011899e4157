"""A page of charts, drawn by matplotlib, and how it is written. Without matplotlib there is one clear line."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from objstore.system import files
from objstore.tools.commands import OperatorProblem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_INCHES: Final = 11.0
PANEL_INCHES: Final = 3.4
TITLE_INCHES: Final = 0.6
FILE_MODE: Final = 0o644
BLUE, ORANGE, GREEN, RED, INK = "#3572b0", "#e08214", "#4d9221", "#c51b1b", "#333333"
# Names are shown as they are, not as formulas; the same ring gives the same file.
STYLE: Final[dict[Any, Any]] = {
    "text.parse_math": False,
    "svg.hashsalt": "objstore",
    "svg.fonttype": "none",
    "font.size": 9.0,
}

Panel = Callable[["Axes"], None]  # draws one chart


def write_page(path: str, title: str, panels: Sequence[Panel]) -> None:
    """Draw the panels below one another as SVG, and write them. Raises OperatorProblem."""
    content = page(title, panels)
    try:
        files.write_atomically(path, content, FILE_MODE)
    except OSError as error:
        raise OperatorProblem(f"{path} cannot be written: {error.strerror}", "choose another file") from error


def page(title: str, panels: Sequence[Panel]) -> bytes:
    """The SVG. Raises OperatorProblem when matplotlib is not installed."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise OperatorProblem("charts need matplotlib", "install it with: pip install 'objstore[plot]'") from None
    drawn = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that its font does not have; the viewer's may
        figure = Figure(figsize=(WIDTH_INCHES, TITLE_INCHES + PANEL_INCHES * len(panels)), layout="constrained")
        figure.suptitle(printable(title))
        for panel, (axes,) in zip(panels, figure.subplots(len(panels), squeeze=False), strict=True):
            axes.spines[["top", "right"]].set_visible(False)
            axes.grid(axis="y", linewidth=0.4)
            axes.set_axisbelow(True)
            panel(axes)
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()


def printable(text: str) -> str:
    """XML cannot hold control characters."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def readable_number(value: float, _place: object = None) -> str:
    """1.5k, 20M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
