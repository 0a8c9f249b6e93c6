"""The documentation site. `make docs` builds it into docs/_build/html, which opens from the folder."""

import inspect
import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils.nodes import FixedTextElement, SkipNode, Text, literal
from docutils.utils.math.latex2mathml import tex2mathml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the gallery draws the same numbers with any number of cores

project = "alignmixup"
author = "the authors of alignmixup"
project_copyright = "the authors of alignmixup"
version = release = version_of("alignmixup")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
]
root_doc = "index"
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/**/README.md"]

myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Source", "Convention", "Gradients", "Shapes"]

sphinx_gallery_conf = {
    "examples_dirs": "../examples/gallery",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "min_reported_time": 1e9,
    "show_memory": False,
    "download_all_examples": False,
    "image_scrapers": ("matplotlib",),
    "plot_gallery": True,
}

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"alignmixup {version}"
html_show_sphinx = False
html_copy_source = False
html_math_renderer = "mathml"


def inline_math(translator: Any, node: Any) -> None:
    """Formulas as MathML, which browsers draw themselves: the pages need no network."""
    translator.body.append(tex2mathml(node.astext()))
    raise SkipNode


def display_math(translator: Any, node: Any) -> None:
    """The same for a formula of its own line."""
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise SkipNode


# pages of the repository that the site takes in under another name
MOVED = {
    "../results/README.md": "records.md",
    "../../results/README.md": "../records.md",
    "docs/": "",
    "SECURITY.md": "security.md",
}


def follow_moves(_app: Any, _relative: Any, _parent: str, content: list[str]) -> None:
    """Let links lead to the site's pages; in the repository the same links lead to the files."""
    for old, new in MOVED.items():
        content[0] = content[0].replace(f"]({old}", f"]({new}")


def name_card(_app: Any, _kind: str, _name: str, value: Any, _options: Any, lines: list[str]) -> None:
    """End what the reference says of a method with its card, where the example is."""
    room, _, card = getattr(value, "__module__", "").rpartition(".")
    if room == "alignmixup.methods" and inspect.isclass(value):
        lines += ["", f"An example that runs, the options and their cost: `the card <../methods/{card}.html>`__.", ""]


def keep_whole(_app: Any, kind: str, _name: str, _value: Any, _options: Any, lines: list[str]) -> None:
    """Let the text of a property be text: napoleon takes what stands before its first colon for a type."""
    taken = [number for number, line in enumerate(lines) if line.startswith(":type: ")]
    if kind in ("attribute", "data", "property") and taken:
        lines[0] = f"{lines[taken[-1]].removeprefix(':type: ')}: {lines[0]}"
        del lines[taken[-1]]


def skip_aliases(_app: Any, _kind: str, _name: str, value: Any, _skip: bool, _options: Any) -> bool | None:
    """Leave out the fields of named tuples, which their class explains."""
    return True if (inspect.getdoc(value) or "").startswith("Alias for field number") else None


def keep_numbers_together(_app: Any, doctree: Any, _page: str) -> None:
    """No line ends within 41.5 ± 0.5, 85 % or 5.6 min."""
    for text in list(doctree.findall(Text)):
        joined = re.sub(r"(?<=\d) (?=[±%]|(?:µs|ms|s|min|dB)\b)|(?<=±) (?=\d)", "\u00a0", text)
        if joined != text and not isinstance(text.parent, (literal, FixedTextElement)):
            text.parent.replace(text, Text(joined))


def setup(app: Any) -> None:
    """Register what is of our own."""
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))
    app.connect("source-read", lambda app, name, content: follow_moves(app, None, name, content))
    app.connect("include-read", follow_moves)
    app.connect("autodoc-process-docstring", name_card)
    app.connect("autodoc-process-docstring", keep_whole, priority=600)  # after napoleon
    app.connect("autodoc-skip-member", skip_aliases)
    app.connect("doctree-resolved", keep_numbers_together)
