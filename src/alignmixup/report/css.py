"""The style sheet of the report: one file, no fonts from elsewhere, light and dark, wide and narrow."""

STYLE = """
:root { color-scheme: light dark;
  --page: #fbfbf9; --card: #ffffff; --ink: #1b1d21; --soft: #565b64; --rule: #dcdcd6; --grid: #e9e9e4;
  --accent: #0b5cad; --best: #eaf2fb; --code: #f2f2ee;
  --s0: #6b7078; --s1: #0072b2; --s2: #c2410c; --s3: #00805a; --s4: #b5428f; --s5: #8a6d00; --s6: #1d8fb8;
  --s7: #7a4fc0; --s8: #a3282f; --s9: #4d7c0f; }
@media (prefers-color-scheme: dark) { :root {
  --page: #15171a; --card: #1d2024; --ink: #e9eaec; --soft: #a5abb4; --rule: #363a41; --grid: #2a2e33;
  --accent: #7db8f5; --best: #1f2f42; --code: #24282d;
  --s0: #a0a6b0; --s1: #56b4e9; --s2: #f58b4c; --s3: #3fc795; --s4: #e58cc6; --s5: #e0c341; --s6: #7fd6ea;
  --s7: #b79af0; --s8: #f2848a; --s9: #a3cf5f; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main, header, footer { max-width: 70rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: clamp(1.6rem, 4.5vw, 2.3rem); line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.015em;
  text-wrap: balance; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .8rem; padding-top: .9rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
.lead { font-size: 1.1rem; }
.note, figcaption, footer, dt, .caveats { color: var(--soft); }
.caveats { font-size: .92rem; max-width: 46rem; padding-left: 1.1rem; }
a { color: var(--accent); }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .7rem 1.5rem;
  margin: 1.3rem 0 0; padding: 1rem 1.2rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: .6rem; }
dl.facts div { min-width: 0; }
dt { font-size: .8rem; }
dd { margin: 0; font-weight: 550; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 1rem 0; background: var(--card); border: 1px solid var(--rule);
  border-radius: .6rem; }
.scroll:focus-visible, pre:focus-visible, summary:focus-visible { outline: 2px solid var(--accent);
  outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
caption { text-align: left; padding: .8rem 1rem .7rem; font-weight: 600; }
caption .note { display: block; font-weight: 400; font-size: .86rem; max-width: min(46rem, calc(100vw - 4.5rem)); }
th, td { padding: .42rem .8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--grid); }
thead th { font-weight: 500; font-size: .82rem; color: var(--soft); vertical-align: bottom; }
th:first-child { text-align: left; padding-left: 1rem; position: sticky; left: 0; background: inherit; }
tr { background: var(--card); }
tbody th { font-weight: 550; }
tr.best { background: var(--best); }
tr.best td, tr.best th { font-weight: 650; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: 1rem; }
.charts.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; padding: .9rem .9rem .7rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: .6rem; min-width: 0; }
figcaption { font-size: .88rem; margin-top: .4rem; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; border-radius: .3rem; background: #fff; }
.pictures { display: grid; gap: 1rem; }
ul.legend { list-style: none; margin: 1rem 0 .8rem; padding: 0; display: flex; flex-wrap: wrap; gap: .25rem 1.2rem;
  font-size: .92rem; }
ul.legend svg { width: 1.5rem; height: .7rem; margin-right: .4rem; }
svg.chart { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font-family: inherit; fill: var(--soft); font-size: 11.5px; }
svg text.label { fill: var(--ink); font-size: 12px; }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .line { fill: none; stroke-width: 2.1; stroke-linejoin: round; stroke-linecap: round; }
svg .line.again { stroke-dasharray: 6 4; }
svg .band { opacity: .13; stroke: none; }
svg .bar { stroke-width: 2.2; stroke-linecap: round; }
svg .dot { stroke: var(--card); stroke-width: 1.2; }
svg .faint { opacity: .5; }
svg .area { opacity: .55; stroke: var(--card); stroke-width: 1; }
svg .reported { fill: none; stroke: var(--ink); stroke-width: 1.6; }
svg .perfect { stroke: var(--ink); stroke-width: 1.2; stroke-dasharray: 4 4; }
details { border: 1px solid var(--rule); border-radius: .6rem; background: var(--card); margin: .5rem 0; }
summary { cursor: pointer; padding: .55rem 1rem; font-weight: 550; overflow-wrap: anywhere; }
details > :not(summary) { margin: 0 1rem 1rem; }
pre { overflow-x: auto; background: var(--code); border-radius: .5rem; padding: .8rem 1rem; margin: .6rem 0;
  font: .84rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
footer { padding-top: 2rem; padding-bottom: 3rem; font-size: .88rem; }
@media (max-width: 40rem) { main, header, footer { padding-left: .9rem; padding-right: .9rem; }
  tbody th { white-space: normal; min-width: 8.5rem; max-width: 45vw; overflow-wrap: break-word; }
  header { padding-top: 1.5rem; } th, td { padding: .4rem .6rem; } figure { padding: .6rem .5rem; }
  svg text { font-size: 13.5px; } svg text.label { font-size: 13.5px; } }
@media print { details { break-inside: avoid; } figure { break-inside: avoid; } body { background: #fff; } }
"""


def series_rules(count: int) -> str:
    """Stroke and fill of each series."""
    lines = [f"svg .line.s{n}, svg .bar.s{n} {{ stroke: var(--s{n}); }}" for n in range(count)]
    lines += [f"svg .dot.s{n}, svg .band.s{n}, svg .area.s{n} {{ fill: var(--s{n}); }}" for n in range(count)]
    return "\n".join(lines)
