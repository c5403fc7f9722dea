"""Style and script of the report's page, in Python so that the page needs no other file."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ink:#1f2933; --soft:#52606d; --faint:#d9dee4; --paper:#ffffff;
  --ground:#f3f5f7;
  --link:#075e96; --trial:#0072b2; --best:#d55e00; --failed:#b5483a; --mark:#fdf0e3;
  --step-0:#440154; --step-1:#472e7c; --step-2:#3c508b; --step-3:#2d718e; --step-4:#21918c; --step-5:#29af7f;
  --step-6:#65cb5e; --step-7:#addc30; }
@media (prefers-color-scheme: dark) { :root { --ink:#e4e8ec; --soft:#a3b0bc; --faint:#3a444e; --paper:#1b2127;
  --ground:#12161a; --link:#7cc4f5; --trial:#56b4e9; --best:#ff9a4d; --failed:#f08a7c; --mark:#3a2a1b;
  --step-0:#f4e61e; --step-1:#addc30; --step-2:#65cb5e; --step-3:#29af7f; --step-4:#21918c; --step-5:#2d718e;
  --step-6:#3c508b; --step-7:#4f4a8c; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--ground); color:var(--ink); font:16px/1.5 system-ui, sans-serif; }
main { max-width:76rem; margin:0 auto; padding:1.25rem; }
h1 { font-size:1.6rem; line-height:1.25; margin:0 0 .25rem; overflow-wrap:anywhere; }
h2 { font-size:1.15rem; margin:0 0 .6rem; }
section, .card { background:var(--paper); border:1px solid var(--faint); border-radius:.5rem; padding:1rem;
  margin:1rem 0; min-width:0; }
p { margin:.3rem 0; }
.soft, figcaption { color:var(--soft); font-size:.875rem; }
dl { display:grid; grid-template-columns:max-content minmax(0,1fr); gap:.15rem 1rem; margin:0; }
dt { color:var(--soft); } dd { margin:0; overflow-wrap:anywhere; }
.big { display:flex; flex-wrap:wrap; gap:.5rem 2rem; margin:.75rem 0 0; padding:0; list-style:none; }
.big b { display:block; font-size:1.3rem; font-weight:600; font-variant-numeric:tabular-nums; }
.two { display:grid; grid-template-columns:repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap:1rem; }
.two > * { margin:0; }
figure { margin:1rem 0; }
.scroll { overflow-x:auto; }
.scroll:focus-visible, button:focus-visible, input:focus-visible, select:focus-visible,
  summary:focus-visible {
  outline:2px solid var(--link); outline-offset:2px; }
figure svg { display:block; width:100%; min-width:28rem; height:auto; }
figure.wide svg { min-width:42rem; }
svg text { font-family:system-ui, sans-serif !important; }
pre { background:var(--ground); border:1px solid var(--faint); border-radius:.35rem; padding:.75rem;
  margin:.5rem 0;
  white-space:pre-wrap; overflow-wrap:anywhere; font:.85rem/1.45 ui-monospace, monospace; }
table { border-collapse:collapse; font-size:.875rem; font-variant-numeric:tabular-nums; width:100%; }
caption { text-align:left; }
th, td { padding:.3rem .6rem; border-bottom:1px solid var(--faint); text-align:right; white-space:nowrap; }
th:first-child, td:first-child, .text { text-align:left; }
th { vertical-align:bottom; font-weight:600; white-space:normal; line-height:1.25; }
th button { all:unset; cursor:pointer; } th button:focus-visible { outline:2px solid var(--link); }
th[aria-sort=ascending] button::after { content:" \\2191"; }
  th[aria-sort=descending] button::after { content:" \\2193"; }
thead th { position:sticky; top:0; background:var(--paper); }
td:first-child, th:first-child { position:sticky; left:0; background:var(--paper); }
thead th:first-child { z-index:1; }
tr.best td { background:var(--mark); } tr.failed td { color:var(--failed); }
  tr.failed td:first-child { font-style:italic; }
.all { max-height:70vh; overflow:auto; }
.tools { display:none; flex-wrap:wrap; gap:.75rem; align-items:end; margin:0 0 .75rem; }
  .js .tools { display:flex; }
.tools label { font-size:.875rem; color:var(--soft); }
input, select, button.copy { display:block; font:inherit; color:inherit; background:var(--ground);
  border:1px solid var(--soft); border-radius:.35rem; padding:.3rem .6rem; max-width:100%; }
button.copy { display:none; cursor:pointer; } .js button.copy { display:inline-block; }
@media (max-width:40rem) { main { padding:.6rem; } section, .card { padding:.75rem; }
  dl { grid-template-columns:minmax(0,8.5rem) minmax(0,1fr); } }
dl.counts { grid-template-columns:max-content minmax(0,1fr); }
@media print { .all { max-height:none; } .tools, button.copy { display:none !important; } }
"""

SCRIPT = r"""
(() => {
  "use strict";
  document.documentElement.classList.add("js");
  const table = document.getElementById("trials");
  if (table) {
    const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
    const text = document.getElementById("find"), status = document.getElementById("status");
    const told = document.getElementById("told");
    const key = (row, n) => row.cells[n].dataset.v ?? row.cells[n].textContent;
    const compare = (a, b) => {
      const x = Number(a), y = Number(b);
      return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, {numeric: true}) : x - y;
    };
    heads.forEach((head, n) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        rows.sort((r, s) => {
          const a = key(r, n), b = key(s, n);
          if (a === "" || b === "") return (a === "") - (b === "");
          return up ? compare(a, b) : compare(b, a);
        });
        body.append(...rows);
      });
    });
    const words = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
    const filter = () => {
      const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const fits = wanted.every(word => words.get(row).includes(word))
          && (!status.value || row.dataset.s === status.value);
        row.hidden = !fits;
        shown += fits;
      }
      told.textContent = shown === rows.length ? `${shown} trials` : `${shown} of ${rows.length} trials`;
    };
    text.addEventListener("input", filter);
    status.addEventListener("change", filter);
    filter();
  }
  for (const button of document.querySelectorAll("button.copy")) {
    const source = document.getElementById(button.dataset.of);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = "Selected: press Ctrl+C";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
})();
"""
