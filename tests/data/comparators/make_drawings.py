"""Golden drawings: made once, with matplotlib 3.11.2; `again` a second later, `far` with other data.

python make_drawings.py FOLDER
"""

import sys
import time

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt


def draw(stem: str, moved: float) -> None:
    """Draw one small figure, as SVG and PDF."""
    figure, axes = plt.subplots(figsize=(2, 1.5))
    axes.plot([0, 1, 2], [0.5, 0.25 + moved, 0.125])
    axes.set_xticks([0, 2])
    axes.set_yticks([0.5])
    axes.set_title("loss")
    for form in ("svg", "pdf"):
        figure.savefig(f"{stem}.{form}")


for side, moved in (("old", 0.0), ("again", 0.0), ("far", 0.1)):
    draw(f"{sys.argv[1]}/{side}", moved)
    time.sleep(1)
