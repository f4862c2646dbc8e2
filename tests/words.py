"""How large the words of a picture are on a page."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text

PAGE = 8.3  # inches: the width at which a page of a notebook, of the site or of a forge shows a picture


def smallest_words(fig: Figure) -> float:
    """Points of the smallest visible words when the picture is shown on a page."""
    fig.canvas.draw()
    sizes = [text.get_fontsize() for text in fig.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return min(sizes, default=np.inf) * min(1.0, PAGE / fig.get_figwidth())
