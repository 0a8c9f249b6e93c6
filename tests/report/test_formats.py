"""Tables for programs and for papers."""

import csv
import io

from alignmixup.report.formats import csv_table, latex_table
from alignmixup.report.tables import Table

TABLE = Table(["method", "error", "minus baseline"], [["a, b", "1.50 ± 0.25", "-0.50"], ["x_1 & 5 %", "2.00", ""]])


def test_csv_has_a_column_for_the_spread_and_keeps_commas() -> None:
    assert list(csv.reader(io.StringIO(csv_table(TABLE)))) == [
        ["method", "error", "error sd", "minus baseline"],
        ["a, b", "1.50", "0.25", "-0.50"],
        ["x_1 & 5 %", "2.00", "", ""],
    ]


def test_latex_has_booktabs_and_escapes_its_own_characters() -> None:
    assert latex_table(TABLE).splitlines() == [
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"method & error & minus baseline \\",
        r"\midrule",
        r"a, b & 1.50 $\pm$ 0.25 & $-$0.50 \\",
        r"x\_1 \& 5 \% & 2.00 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
