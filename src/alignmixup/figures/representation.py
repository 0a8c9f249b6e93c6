"""The representation of classifiers: spectra of classes, confidence of errors, decisions between and around images."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

from alignmixup.figures.axes import fold, legend_below
from alignmixup.figures.palette import dashes, series
from alignmixup.figures.save import Target, drawing

Result = Mapping[str, Any]


def draw_representation(groups: Mapping[str, Sequence[Mapping[str, Any]]], path: Target) -> None:
    """Draw four panels with a line for each label, the mean over its runs.

    ``groups`` holds label -> evaluations with the part "representation".
    """
    with drawing(path, width=9, height=6.4 + 0.1 * len(groups)) as figure:
        (spectrum, errors), (between, around) = figure.subplots(2, 2)
        for number, (label, results) in enumerate(groups.items()):
            found = [result["representation"] for result in results]
            style = {"color": series(number), "linestyle": dashes(number), "label": fold(label, lines=1)}
            values = _mean(found, lambda one: one["spectrum"]["centred"]["values"])
            values = [value for value in values if value > 1e-6]  # the last of n centred images is 0
            spectrum.plot(range(1, len(values) + 1), values, **style)
            wrong = [one for one in found if one["errors"]["above_percent"]]
            if wrong:
                levels = wrong[0]["errors"]["levels"]
                errors.plot(levels, _mean(wrong, lambda one: one["errors"]["above_percent"]), **style)
            confidence = _mean(found, lambda one: one["segments"]["confidence_percent"])
            between.plot([place / (len(confidence) - 1) for place in range(len(confidence))], confidence, **style)
            sizes = [step["step_255"] for step in found[0]["steps"]]
            change = _mean(found, lambda one: [step["change_percent"] for step in one["steps"]])
            around.plot(sizes, change, **style)
        spectrum.set(xscale="log", yscale="log", xlabel="number", ylabel="singular value of a class, relative")
        for axis in (spectrum.xaxis, spectrum.yaxis):  # plain numbers, not powers of ten
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        errors.set(xlabel="confidence", ylabel="errors surer than that (%)", xlim=(0, 1), ylim=(0, 100))
        between.set(xlabel="way from an image to one of another class", ylabel="mean confidence (%)", xlim=(0, 1))
        around.set(xscale="log", xlabel="random step (1/255, root mean square)", ylabel="change of probabilities (%)")
        around.set_xticks(sizes, [f"{size:g}" for size in sizes], minor=False)
        around.minorticks_off()
        legend_below(figure, spectrum, columns=4)


def _mean(found: Sequence[Result], read: Callable[[Result], Sequence[float]]) -> list[float]:
    """Mean over runs, place by place, as far as all reach."""
    return [fmean(column) for column in zip(*map(read, found), strict=False)]
