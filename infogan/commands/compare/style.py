"""The page's style sheet."""

STYLE = """
:root { color-scheme: light; --line: #dcdfe4; --ink: #1d2530; --soft: #5d6878; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1480px; padding: 0 28px 60px; background: #fff;
  color: var(--ink); font: 14px/1.45 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }
h1 { font-size: 24px; margin: 26px 0 10px; }
h2 { font-size: 17px; margin: 34px 0 10px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 14px; margin: 22px 0 8px; }
.note, .empty { color: var(--soft); margin: 0 0 10px; }
nav { display: flex; flex-wrap: wrap; gap: 6px 8px; margin: 0 0 14px; }
nav label { display: inline-flex; align-items: center; gap: 6px; padding: 3px 10px 3px 7px;
  border: 1px solid var(--line); border-radius: 6px; cursor: pointer; color: var(--soft); }
nav label:hover { border-color: #9aa5b4; }
nav label:has(:checked) { background: #eef2f7; color: var(--ink); }
nav label:has(:focus-visible) { outline: 2px solid #0072b2; }
details { margin: 10px 0 14px; }
summary { cursor: pointer; color: var(--soft); margin: 0 0 8px; }
nav input { margin: 0; accent-color: #4b5a6d; }
.legend { position: sticky; top: 0; z-index: 2; margin: 0 -28px; padding: 10px 28px;
  background: #fffffff2; border-bottom: 1px solid var(--line); }
.legend label { font-weight: 600; }
.swatch { width: 22px; height: 10px; flex: none; margin-right: 5px; vertical-align: 0; }
.swatch line { stroke-width: 3; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 4px 22px 4px 0;
  border-bottom: 1px solid #eceef2; max-width: 460px; }
tr:first-child > * { white-space: nowrap; border-bottom-color: #9aa5b4; }
th[scope=row] { font-weight: 400; color: var(--soft); white-space: nowrap; position: sticky;
  left: 0; background: #fff; }
td.best { font-weight: 700; }
td.stopped { font-style: italic; color: #a04000; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 18px; }
figure { margin: 0; }
.charts figure { border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px 4px; }
.charts figcaption { display: flex; justify-content: space-between; gap: 12px; flex-wrap: wrap;
  font-weight: 600; margin-bottom: 4px; }
.newest { display: flex; flex-wrap: wrap; gap: 2px 12px; font-variant-numeric: tabular-nums; }
.charts svg { display: block; width: 100%; height: auto; }
.charts polyline, .charts circle { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
.charts polyline.faint { stroke-width: 0.8; opacity: 0.28; stroke-dasharray: none; }
.charts g:hover polyline { stroke-width: 3; }
.charts g:hover polyline.faint { stroke-width: 0.8; }
.grid line { stroke: #e7eaee; }
.grid text { font-size: 11px; fill: var(--soft); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr));
  gap: 16px 18px; align-items: start; }
.pictures figcaption { margin-bottom: 4px; }
.pictures img { display: block; max-width: 100%; height: auto; }
"""
