"""A matplotlib figure that a notebook shows by itself, whether or not pyplot was imported there."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from reasoning_probe.report.figures.figure import style


class NotebookFigure(Figure):
    """A figure with a picture of its own for notebooks."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with style():
            self.savefig(buffer, format="png", dpi=100, facecolor="white", metadata={"Software": None})
        return buffer.getvalue()
