"""Numbers of the AlignMixup paper's tables, to stand beside ours. Imports no torch."""

SOURCE = "Venkataramanan, Kijak, Amsaleg, Avrithis: AlignMixup, CVPR 2022"
PROTOCOL = (
    "error of the best epoch on the test set; epochs differ between methods (300 to 2,000 on CIFAR); one number a "
    "method, no spread given"
)

_METHODS = ("baseline", "mixup", "manifold_mixup", "puzzlemix", "comixup", "stylecutmix", "alignmixup", "alignmixup_ae")
# (data, network) -> top-1 test errors in percent, in the order of _METHODS
_ERRORS: dict[tuple[str, str], tuple[float | None, ...]] = {
    ("cifar10", "preact_resnet18"): (5.19, 4.03, 2.95, 2.93, 2.89, 3.06, 2.95, 2.83),
    ("cifar100", "preact_resnet18"): (23.24, 20.21, 19.80, 20.01, 19.81, 19.34, 18.29, 17.82),
    ("tiny-imagenet", "preact_resnet18"): (43.40, 43.48, 40.76, 36.52, 35.85, 34.49, 33.13, 32.73),
    ("imagenet", "resnet50"): (23.68, 22.58, 22.58, 21.24, None, None, 20.68, 18.83),
}
# (network, method) -> top-1 localisation and MaxBoxAcc-v2 on CUB-200-2011 in percent
_LOCALIZATION: dict[tuple[str, str], tuple[float, float]] = {
    ("vgg16_gap", "baseline"): (37.1, 59.0),
    ("vgg16_gap", "mixup"): (41.7, 57.1),
    ("vgg16_gap", "cutmix"): (52.5, 62.6),
    ("vgg16_gap", "alignmixup"): (53.1, 63.8),
    ("resnet50_gap", "baseline"): (49.4, 59.7),
    ("resnet50_gap", "mixup"): (49.3, 60.6),
    ("resnet50_gap", "cutmix"): (54.8, 64.8),
    ("resnet50_gap", "alignmixup"): (56.2, 65.4),
}


def published_errors(data: str, network: str) -> dict[str, float]:
    """Top-1 test errors in percent of one column of the table, by method; empty where the paper has none.

    Names are those of ``data.name`` and ``model.name``; ``torchvision:`` and ``timm:`` are left out of account.

    Source:
        Venkataramanan et al., AlignMixup, CVPR 2022, tables of image classification. The rivals' numbers come from
        runs of different length and, on Tiny-ImageNet, in part from a network with a quarter of the arithmetic.

    Example:
        >>> published_errors("cifar100", "preact_resnet18")["alignmixup"]
        18.29
    """
    column = _ERRORS.get((data, network.rpartition(":")[2]), ())
    return {method: error for method, error in zip(_METHODS, column, strict=False) if error is not None}


def published_error(data: str, network: str, method: str) -> float | None:
    """One number of `published_errors`; None where the paper has none."""
    return published_errors(data, network).get(method)


def published_localization(data: str, network: str, method: str) -> dict[str, float]:
    """Weakly supervised localisation in percent: ``top1`` and ``maxboxacc_v2``; empty where the paper has none.

    Source:
        Venkataramanan et al., AlignMixup, CVPR 2022, table of localisation on CUB-200-2011. The first three Top-1
        numbers of a network are those of Yun et al., CutMix, ICCV 2019, Table 9.
    """
    key = (network.rpartition(":")[2], method)
    if data != "cub" or key not in _LOCALIZATION:
        return {}
    top1, maxboxacc = _LOCALIZATION[key]
    return {"top1": top1, "maxboxacc_v2": maxboxacc}
