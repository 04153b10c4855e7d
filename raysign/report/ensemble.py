"""What the members of an ensemble are worth alone and together: a page and a table in words.

Takes the figures of infer.fusion.
"""

from matplotlib.figure import Figure

from raysign.report import html, plots

TOGETHER = {"equal": "all, equal weights", "fitted": "all, fitted weights"}
INTERVAL = "#a0aec0"


def rows(found: dict) -> list[dict]:
    """The members in their order, then the means of all: name, weight, val and `tested`, figures or None."""
    split = found["split"]
    members = [{"name": one["name"], "weight": one["weight"], "val": one.get("val"), "tested": one[split]}
               for one in found["members"]]  # fmt: skip
    fused = [name for name in TOGETHER if name == "equal" or found["val_count"]]
    return members + [{"name": TOGETHER[name], "weight": None, "val": None, "tested": found[name]} for name in fused]


def flat(found: dict) -> dict[str, float]:
    """The figures of all together, and what they gain, by names of their own: what MLflow is told."""
    told = found[found["weights"]]
    return {f"ensemble/{name}": value for name, value in told.items()}


def page(found: dict, *, title: str, config: str = "") -> str:
    """The report as HTML. Everything is escaped."""
    return html.template("ensemble.html").render(
        title=title, found=found, rows=rows(found), picture=html.picture(picture(found)), config=config
    )


def words(found: dict, place: str) -> str:
    """The table in lines of text, and where everything is."""
    cells = [["", "weight", found["split"], "95 % interval", "nll"]]
    for row in rows(found):
        weight, told = "" if row["weight"] is None else f"{row['weight']:.3f}", row["tested"]
        interval = f"{told['low']:.3f} to {told['high']:.3f}"
        cells.append([row["name"], weight, f"{told['accuracy']:.3f}", interval, f"{told['nll']:.3f}"])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([*lines, *notes(found), f"report:  {place}/report.html",
                      f"bundle:  {place}/bundle   (raysign predict {place}/bundle FILE...)"])  # fmt: skip


def notes(found: dict) -> list[str]:
    """What the figures mean, in sentences."""
    if not found["val_count"]:
        return ["no validation clips: weights are equal, as nothing could choose others"]
    told = found[found["weights"]]
    difference = f"{told['difference']:+.3f} ({told['difference_low']:+.3f} to {told['difference_high']:+.3f})"
    said = [f"{found['weights']} weights, those of the bundle, against {found['best']}, the best member on "
            f"{found['val_count']} validation clips: {difference} of {found['count']} clips"]  # fmt: skip
    if found["split"] != "test":
        said.append(f"{found['split']} clips chose weights or epochs: expect lower figures on new ones")
    return said


def picture(found: dict) -> bytes:
    """PNG of the share told right by each and by all, with its interval."""
    listed = rows(found)
    figure = Figure(figsize=(7.5, 0.9 + 0.34 * len(listed)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(listed):
        told, colour = row["tested"], plots.BLUE if row["weight"] is not None else plots.RED
        axes.plot([told["low"], told["high"]], [place, place], color=INTERVAL, linewidth=3, solid_capstyle="round")
        axes.plot(told["accuracy"], place, "o", color=colour, markersize=7)
        axes.text(told["high"] + 0.01, place, f"{told['accuracy']:.3f}", va="center", **plots.text(8))
    axes.set_yticks(range(len(listed)), [row["name"] for row in listed], **plots.text(8))
    axes.set_ylim(len(listed) - 0.4, -0.6)
    axes.set_xlabel(f"told right of {found['count']} {found['split']} clips, with intervals of 95 %", **plots.text(8))
    plots.plain(axes)
    return plots.png(figure)
