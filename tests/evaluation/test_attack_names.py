"""Attacks as they are written."""

import pytest

from alignmixup.evaluation.attack_names import available, describe, parse_attack, parse_number
from alignmixup.evaluation.attacks import Attack


def test_presets() -> None:
    assert available() == ("fgsm", "pgd", "pgd-l2", "autoattack", "autoattack-l2")
    assert parse_attack("pgd") == Attack(name="pgd", epsilon=4 / 255, step=2 / 255, iterations=20, restarts=1)
    fast = Attack(name="fgsm", epsilon=8 / 255, step=8 / 255, iterations=1, random_start=False)
    assert parse_attack("fgsm") == fast


def test_options() -> None:
    attack = parse_attack("pgd: epsilon=0.03, step=1/255, iterations=50, restarts=5")
    assert (attack.epsilon, attack.step, attack.iterations, attack.restarts) == (0.03, 1 / 255, 50, 5)
    assert not parse_attack("pgd:random_start=false").random_start
    small = parse_attack("fgsm:epsilon=2/255")
    assert small.epsilon == small.step == 2 / 255


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fgsm", "fgsm 8/255"),
        ("pgd", "pgd 4/255, 20 x 2/255"),
        ("pgd:epsilon=0.1,restarts=3", "pgd 0.1, 20 x 2/255, 3 restarts"),
        ("pgd:random_start=false,epsilon=8/255", "pgd 8/255, 20 x 2/255, from the image"),
        ("pgd-l2:epsilon=1,step=128/255", "pgd-l2 1, 20 x 128/255"),
    ],
)
def test_description(text: str, words: str) -> None:
    assert describe(parse_attack(text)) == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pdg", "unknown attack 'pdg'; did you mean pgd? Known: fgsm, pgd"),
        ("pgd:epsilno=1", "pgd has no option 'epsilno=1', written KEY=VALUE; did you mean epsilon?"),
        ("fgsm:iterations=2", "fgsm has no option 'iterations=2', written KEY=VALUE; known: epsilon"),
        ("pgd:epsilon", "pgd has no option 'epsilon'"),
        ("pgd:epsilon=8", "attack pgd:epsilon=8: epsilon must be in [0, 1]"),
        ("pgd:epsilon=8/0", "epsilon: '8/0' is not a number; write 8/255 or 0.03"),
        ("pgd:iterations=2.5", "iterations must be a whole number, got '2.5'"),
        ("pgd:random_start=1", "random_start must be true or false, got '1'"),
    ],
)
def test_bad_input(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared as a text
        parse_attack(text)
    assert message in str(caught.value)


def test_numbers() -> None:
    assert parse_number("8/255") == 8 / 255
    assert parse_number(" 1e-2") == 0.01
