"""Displays as outputs of notebook cells."""

from __future__ import annotations

import io
from typing import Any


class NotebookDisplay:
    """A display whose figure is shown if it is the last value of a notebook cell.

    Figures of displays are not registered with pyplot, so notebooks would not show them otherwise.
    """

    figure_: Any

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def _repr_png_(self) -> bytes | None:
        """The figure as a PNG; None before `plot`."""
        if not hasattr(self, "figure_"):
            return None
        file = io.BytesIO()
        self.figure_.savefig(file, format="png", bbox_inches="tight", metadata={"Software": None})
        return file.getvalue()
