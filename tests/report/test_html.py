"""Pieces of HTML."""

from alignmixup.report.html import code, details, escape, section, table, tag


def test_what_comes_from_outside_is_escaped() -> None:
    assert escape('<a href="x">&') == "&lt;a href=&quot;x&quot;&gt;&amp;"
    assert tag("p", "<b>", title='"', class_="x", aria_label="y", id=None) == (
        '<p title="&quot;" class="x" aria-label="y"><b></p>'
    )
    assert code("a < b") == '<pre tabindex="0"><code>a &lt; b</code></pre>'
    assert details("<", "x") == "<details><summary>&lt;</summary>x</details>"


def test_a_table_has_headings_for_columns_and_rows() -> None:
    got = table(["m", "e"], [["<a>", "1"], ["b", "2"]], caption="C", note="N", best=1)
    assert '<caption>C<span class="note">N</span></caption>' in got
    assert '<th scope="col">e</th>' in got
    assert '<tr><th scope="row">&lt;a&gt;</th><td>1</td></tr><tr class="best"><th scope="row">b</th>' in got
    assert 'role="region" aria-label="C"' in got


def test_an_empty_section_is_none() -> None:
    assert section("T", "") == ""
    assert section("T", "x", level=3) == "<section><h3>T</h3>x</section>"
