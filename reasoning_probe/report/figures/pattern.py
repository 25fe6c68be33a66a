"""An attention pattern as a small picture, a pixel for each pair of tokens."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

MOST_TOKENS = 64
"""Rows of a picture, the last ones."""

COLOUR = (0.24, 0.51, 0.82)
"""That of full attention; less attention is more transparent, so that the picture suits light and dark pages."""


def pattern_picture(pattern: Sequence[Sequence[int]]) -> str:
    """Return the address of a PNG that holds *pattern*, whose row *i* has the percentages of the first *i* + 1 tokens.

    Queries run from the top to the bottom, keys from left to right. The picture is in the address.
    """
    import numpy as np
    from matplotlib.image import imsave

    first = max(0, len(pattern) - MOST_TOKENS)
    pixels = np.zeros((len(pattern) - first, len(pattern) - first, 4))  # red, green, blue, opacity
    for query, shares in enumerate(pattern[first:]):
        visible = np.asarray(shares[first : first + query + 1]) / 100
        pixels[query, : len(visible), :3] = COLOUR
        # The square root keeps small shares visible; keys that a query cannot see stay empty.
        pixels[query, : len(visible), 3] = 0.06 + 0.94 * np.sqrt(visible)
    file = io.BytesIO()
    imsave(file, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
