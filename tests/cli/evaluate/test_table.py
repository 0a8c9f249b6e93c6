"""Tables off a terminal."""

from alignmixup.cli.evaluate.table import name_of, print_checks, print_methods, print_runs
from alignmixup.evaluation.summary import summarise_evaluations

RESULTS = [
    {
        "run": f"runs/{method}-{seed}",
        "method": method,
        "seed": seed,
        "data": "digits",
        "images": 898,
        "error_percent": 4.0 + seed,
        "top5_error_percent": 1.0,
        "cross_entropy": 0.25,
        "recorded": None,
    }
    for method in ("baseline", "mixup")
    for seed in (0, 1)
]


def test_one_row_a_run(capsys):
    print_runs(RESULTS)
    out = capsys.readouterr().out
    assert "digits, 898 test images" in out
    rows = [line for line in out.splitlines() if "runs/" in line]
    assert len(rows) == 4
    assert "5.00" in rows[1]
    assert "0.2500" not in out


def test_one_column_a_method(capsys):
    print_methods(summarise_evaluations(RESULTS), RESULTS)
    out = capsys.readouterr().out
    assert "mean ± standard deviation over seeds" in out
    assert "mixup (2 seeds)" in out
    assert "4.50 ± 0.71" in out
    assert "0.2500 ± 0.0000" in out
    print_methods(summarise_evaluations(RESULTS[:1]), RESULTS[:1])
    alone = capsys.readouterr().out
    assert "runs/baseline-0, digits, 898 test images" in alone
    assert "±" not in alone
    attack = {"label": "pgd", "error_percent": 60.0, "images": 300, "error_interval_percent": [54.3, 65.7]}
    limited = RESULTS[:1][0] | {"attacks": {"attacks": [attack]}}
    print_methods(summarise_evaluations([limited]), [limited])
    out = capsys.readouterr().out
    assert "60.00 (54.30 to 65.70)" in out
    row = next(line for line in out.splitlines() if "pgd" in line)
    assert "300" in row
    assert "898" not in row


def test_checks_that_warn_are_said(capsys):
    checks = [
        {"name": "noise", "passed": True, "problem": ""},
        {"name": "gradients", "passed": False, "problem": "dead"},
    ]
    print_checks([{"run": "a", "attacks": {"checks": {"attack": "pgd", "images": 5, "checks": checks}}}, {"run": "b"}])
    assert capsys.readouterr().out == "a: checks of pgd on 5 images: 1 of 2 warn\n  gradients: dead\n"
    print_checks([{"run": "a", "attacks": {"checks": {"attack": "pgd", "images": 5, "checks": checks[:1]}}}])
    assert "all passed" in capsys.readouterr().out


def test_names():
    assert name_of("ece_percent") == "ECE %"
    assert name_of("fgsm 8/255 error_percent") == "fgsm 8/255 error %"
