"""How methods are called in tables for readers."""

_NAMES = {
    "baseline": "Baseline",
    "mixup": "Mixup",
    "remix": "Remix",
    "manifold_mixup": "Manifold mixup",
    "multimix": "MultiMix",
    "dense_multimix": "Dense MultiMix",
    "cutmix": "CutMix",
    "saliencymix": "SaliencyMix",
    "resizemix": "ResizeMix",
    "smoothmix": "SmoothMix",
    "gridmix": "GridMix",
    "fmix": "FMix",
    "attentivemix": "AttentiveMix",
    "tokenmix": "TokenMix",
    "transmix": "TransMix",
    "regmixup": "RegMixup",
    "puzzlemix": "Puzzle Mix",
    "comixup": "Co-Mixup",
    "stylemix": "StyleMix",
    "stylecutmix": "StyleCutMix",
    "alignmixup": "AlignMixup",
    "alignmixup_ae": "AlignMixup/AE",
    "switch": "Switch",
}
_DATA = {"digits": "Digits", "cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "tiny-imagenet": "Tiny-ImageNet"}
_DATA |= {"imagenet": "ImageNet", "cub": "CUB-200-2011"}


def spell(label: str) -> str:
    """``alignmixup,epsilon=0.1`` as ``AlignMixup, epsilon=0.1``; a name that is not known stays as it is."""
    place, slash, own = label.rpartition("/")
    name, *settings = own.split(",")
    return ", ".join([f"{place}{slash}{_NAMES.get(name, name)}", *settings])


def rank(method: str) -> int:
    """Place of a method in tables: the baseline first, then as in the papers; others behind."""
    known = list(_NAMES)
    return known.index(method) if method in known else len(known)


def spell_data(name: str) -> str:
    """``cifar100`` as ``CIFAR-100``."""
    return _DATA.get(name, name)
