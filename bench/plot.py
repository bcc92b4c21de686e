"""The figures as a picture: how far each is from the other side, and from what it should reach."""

from pathlib import Path

import matplotlib
from matplotlib.figure import Figure as Picture

from bench.figures import GOALS, Figure

COLORS = {True: "#2b7a78", False: "#c0392b", None: "#8a8f98"}
"""Of what reaches its goal, of what does not, and of what has none."""


def draw(found: list[Figure], path: Path) -> None:
    """Draw one bar a figure, on a logarithmic axis, as an SVG file."""
    drawn = [figure for figure in reversed(found) if figure.ratio > 0]
    matplotlib.rcParams["svg.hashsalt"] = "trackstack"
    picture = Picture(figsize=(9, 0.42 * len(drawn) + 1), layout="constrained")
    axes = picture.subplots()
    for row, figure in enumerate(drawn):
        goal = GOALS[figure.goal]
        axes.barh(row, figure.ratio - 1, left=1, color=COLORS[figure.reached])
        if bound := goal.most or goal.least:
            axes.plot([bound] * 2, [row - 0.45, row + 0.45], color="black")
    axes.set_xscale("log")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(drawn)), [figure.goal for figure in drawn])
    axes.set_xlabel("ours / theirs; the black line is what should be reached")
    path.parent.mkdir(exist_ok=True)
    picture.savefig(path, format="svg", metadata={"Date": None})
