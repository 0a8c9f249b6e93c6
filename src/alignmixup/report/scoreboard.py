"""The scoreboard: every method that was run with at least three seeds, recipe by recipe, from stored records."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from alignmixup.report.collect import STORED, Run, find_runs
from alignmixup.report.markdown import markdown_table
from alignmixup.report.names import spell, spell_data
from alignmixup.report.reproduce import command_for, config_hash
from alignmixup.report.rows import KEY, Row, build_rows, warnings
from alignmixup.report.tables import Table, duration
from alignmixup.runs.comparison.results import mean_and_spread
from alignmixup.training.meaning import IMAGES, OF_ONE_ROW, as_written, meaning

SEEDS = 3  # the least that a row has
_MAIN = "train.epochs", "train.batch_size", "data.augment"
_HEADINGS = (
    "method", "error %", "minus baseline", "best %", "seeds", "time of a run", "revision", "configuration", "records",
)  # fmt: skip
INTRODUCTION = f"""# Scoreboard

This page lists every method that was run with at least {SEEDS} seeds, recipe by recipe, the lowest error first. What
the numbers show is said in [results](results.md).

- **A section is a recipe:** all that its runs share apart from the method. Rows of one recipe compare methods; rows of
  different recipes do not.
- **error** is the mean of the last ten epochs, then of the seeds, ± the standard deviation over the seeds. **minus
  baseline** is paired by seed; below 0 is better. **best** is the error of each run's best epoch, picked by that same
  error on the test images, as the papers do, which is optimistic.
- **Settings:** the rate of pretrained networks (folder, CUB) and of the transformer was chosen on training images held
  out, without mixing. What all methods share on digits was chosen by test error, among about eight. For the other
  recipes no search is recorded; [other rates and decays](studies/settings.md) were tried on images held out.
- **revision** is the commit that ran; a + says that files differed from it. **configuration** is a hash of everything
  that changes the numbers, seed aside. It stands again before the command that makes the run, below the table.
- **Times** are of the machines that ran, which the records name: compare them within a recipe at most.

Other words: [words of the tables](concepts.md#words-of-the-tables). The page is made from the [records](records.md) by
`python -m benchmarks.scoreboard`; a test fails where it is not what they give.

## Send a run in

```sh
alignmixup compare --data cifar100 --recipe small --methods baseline,cutmix --seeds {SEEDS} --set data.root=DIR
alignmixup report runs/cifar100 --records results/NAME     # one run a line
alignmixup report results/NAME --check                     # one line a fault, nothing if it can be sent in
python -m benchmarks.scoreboard                            # this page anew
```

Then open a pull request with `results/NAME/records.jsonl`, its line in `results/README.md`, and this page.
"""


def build_scoreboard(results: Path) -> str:
    """The page of the records in ``results/*/records.jsonl``.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a file that is no record.
    """
    files = sorted(results.glob(f"*/{STORED}"))
    if not files:
        raise FileNotFoundError(f"{results} holds no records: there is no {STORED} in a folder of it")
    recipes: dict[str, list[Run]] = {}
    for file in files:
        for run in find_runs([file]):
            named = replace(run, label=f"{file.parent.name}/{run.label}")
            shared = meaning(run.config, but=(*OF_ONE_ROW, IMAGES, "evaluation.every", "method"))
            recipes.setdefault(json.dumps(shared, sort_keys=True), []).append(named)
    sections = [section for runs in recipes.values() if (section := _section(runs))]
    twice = [heading for heading, count in Counter(heading for heading, _ in sections).items() if count > 1]
    if twice:
        raise ValueError(f"recipes that differ are called the same, {twice[0]!r}: say in _heading what differs")
    return "\n".join([INTRODUCTION, *(text for _, text in sorted(sections, key=lambda section: section[0]))])


def _section(runs: Sequence[Run]) -> tuple[str, str] | None:
    """Heading and text of a recipe; None where fewer than two rows have enough seeds."""
    rows = [row for row in build_rows(runs) if len(row.runs) >= SEEDS]
    if len(rows) < 2:
        return None
    rows.sort(key=lambda row: (float(row.summary["mean"][KEY]), row.label))
    heading = _heading(runs[0])
    table = markdown_table(Table(headings=_HEADINGS, rows=[_cells(row) for row in rows]))
    commands = dict.fromkeys(f"{config_hash(run)}  {command_for(run)}" for row in rows for run in row.runs[:1])
    listed = "\n".join(commands)
    named = [replace(row, label=row.label.partition("/")[2], unaligned=None) for row in rows]  # no column shows it
    told = "".join(f"{warning}\n\n" for warning in warnings(named))
    return heading, f"## {heading}\n\n{table}\n{told}```text\n{listed}\n```\n"


def _heading(run: Run) -> str:
    """``CIFAR-100, 20 images a class: preact_resnet18, width 8, train.epochs 100, ...``."""
    config = as_written(run.config)
    model = {key: value for key, value in run.config["model"].items() if key in ("width", "image_size", "patch_size")}
    subset = config.get("data.subset")
    images = f", {subset} images a class" if subset else ""
    images += f", imbalance {config['data.imbalance']:g}" if config["data.imbalance"] != 1 else ""
    shape = "".join(f", {key} {value}" for key, value in model.items() if value)
    main = ", ".join(f"{key.partition('.')[2].replace('_', ' ')} {config[key]}" for key in _MAIN)
    strides = run.config["model"].get("strides")
    shape += f", strides {'-'.join(map(str, strides))}" if strides else ""
    shape += ", final norm" if run.config["model"].get("final_norm") else ""
    return f"{spell_data(run.data)}{images}: {run.config['model']['name']}{shape}, {main}"


def _cells(row: Row) -> list[str]:
    folder, _, label = row.label.partition("/")
    against = mean_and_spread(row.against, KEY, sign=True) if row.against else ""
    return [
        spell(label),
        row.error(KEY),
        against,
        row.error("best_error_percent"),
        str(len(row.runs)),
        duration(row.summary["mean"]["seconds"]),
        ", ".join(_distinct(_revision(run) for run in row.runs)),
        ", ".join(_distinct(config_hash(run) for run in row.runs)),
        folder,
    ]


def _revision(run: Run) -> str:
    revision = run.record.get("revision", {})
    return f"{(revision.get('commit') or '-')[:7]}{'+' if revision.get('dirty') else ''}"


def _distinct(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(texts))
