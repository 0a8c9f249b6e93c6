"""What the options of ``alignmixup evaluate`` ask for."""

import argparse
from pathlib import Path

import pytest

from alignmixup.cli.evaluate.options import add_parts, build_plan
from alignmixup.evaluation.corruptions.strengths import EXTRA_KINDS, KINDS


def plan(*arguments):
    parser = argparse.ArgumentParser()
    add_parts(parser)
    return build_plan(parser.parse_args(arguments))


def test_defaults():
    found = plan()
    assert found.parts == ("error", "calibration")
    assert [attack.name for attack in found.attacks] == ["fgsm", "pgd"]
    assert (found.bins, found.limit, found.batch_size, found.seed, found.check_images) == (15, 0, None, 0, 200)
    assert found.severities == (1, 2, 3, 4, 5)
    assert found.kinds == KINDS
    assert found.ood == ()


def test_options_add_their_part():
    assert plan("--what", "all").parts == ("error", "calibration", "attacks", "ood", "corruptions")
    assert plan("--what", "error", "--attack", "pgd:restarts=2").parts == ("error", "attacks")
    found = plan("--ood", "uniform, folder:a/b", "--corruptions", "all", "--no-checks", "--batch-size", "7")
    assert found.parts == ("error", "calibration", "ood", "corruptions")
    assert found.ood == ("uniform", "folder:a/b")
    assert found.kinds == (*KINDS, *EXTRA_KINDS)
    assert (found.check_images, found.batch_size) == (0, 7)
    assert plan("--corruption-folder", "c").corruption_folder == Path("c")
    assert plan("--baseline", "run").parts[-1] == "corruptions"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--what", "erorr"], "--what: unknown part 'erorr'. Did you mean 'error'?"),
        (["--limit", "-1"], "--limit must be >= 0, got -1"),
        (["--bins", "0"], "--bins must be >= 1, got 0"),
        (["--check-images", "0"], "--check-images must be >= 1, got 0"),
        (["--batch-size", "0"], "--batch-size must be auto or >= 1, got 0"),
        (["--batch-size", "big"], "--batch-size: 'big' is not a whole number"),
        (["--severities", "1,6"], "6"),
        (["--corruptions", "fogg"], "fog"),
        (["--attack", "pgd:epsilon=8"], r"epsilon must be in \[0, 1\]"),
    ],
)
def test_bad_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        plan(*arguments)
