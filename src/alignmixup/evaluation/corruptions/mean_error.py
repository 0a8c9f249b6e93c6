"""mCE: errors under corruptions relative to those of a baseline."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

_SAME = ("severities", "images", "source", "seed", "table")


def chosen_corruptions(result: Mapping[str, Any], kinds: Sequence[str], severities: Sequence[int]) -> dict[str, Any]:
    """A result of `evaluate_corruptions` without the others of its kinds and severities; the means are of these."""
    places = [result["severities"].index(severity) for severity in severities]
    errors = {kind: [result["error_percent"][kind][place] for place in places] for kind in kinds}
    means = {kind: fmean(own) for kind, own in errors.items()}
    chosen = {"kinds": list(kinds), "severities": list(severities), "error_percent": errors}
    return {**result, **chosen, "kind_error_percent": means, "mean_error_percent": fmean(means.values())}


def mean_corruption_error(result: dict[str, Any], baseline: dict[str, Any]) -> dict[str, Any]:
    """Mean corruption error (mCE) and relative mCE of a result of `evaluate_corruptions` against a baseline's.

    For each kind c the errors E of severities s are added before the division:

        CE_c = sum_s E[s, c] / sum_s E_baseline[s, c]
        relative CE_c = sum_s (E[s, c] - E[clean]) / sum_s (E_baseline[s, c] - E_baseline[clean])

    and both are averaged over the kinds.

    Convention:
        - In percent; the baseline's own mCE is 100 and lower is better. With another baseline than the paper's AlexNet
          the number cannot be compared with published ones.
        - A plain mean of errors (``mean_error_percent``) or of accuracies is no mCE, whatever a script calls it.
        - Relative ones are None where a kind does the baseline no harm.

    Raises:
        ValueError: the runs differ in kinds, severities, images or how the corruptions were made, or the baseline
            makes no error under a kind.

    Source:
        Hendrycks and Dietterich, ICLR 2019, section 3.1 (CE, mCE and relative mCE).
    """
    if set(result["kinds"]) != set(baseline["kinds"]):
        differing = sorted(set(result["kinds"]) ^ set(baseline["kinds"]))
        raise ValueError(f"both runs need the same corruptions; only one of them has {', '.join(differing)}")
    for key in _SAME:
        if result[key] != baseline[key]:
            raise ValueError(
                f"both runs need the same corrupted images: {key} is {result[key]!r} and the baseline's "
                f"{baseline[key]!r}"
            )
    kinds = result["kinds"]
    ratios, relative = {}, {}
    for kind in kinds:
        own, other = sum(result["error_percent"][kind]), sum(baseline["error_percent"][kind])
        if other == 0:
            raise ValueError(f"the baseline makes no error under {kind}: nothing to divide by. Use a weaker one")
        ratios[kind] = 100 * own / other
        rounds = len(result["severities"])
        harm = other - rounds * baseline["clean_error_percent"]
        relative[kind] = 100 * (own - rounds * result["clean_error_percent"]) / harm if harm > 0 else None
    known = [value for value in relative.values() if value is not None]
    return {
        "kinds": list(kinds),
        "mce_percent": sum(ratios.values()) / len(kinds),
        "relative_mce_percent": sum(known) / len(kinds) if len(known) == len(kinds) else None,
        "kind_ce_percent": ratios,
        "kind_relative_ce_percent": relative,
    }
