"""How a page looks, and the few lines of script by which a figure's points say what they are.

Without the script a browser shows the same words as titles, when a pointer rests on a point.
"""

import base64
import hashlib

SCRIPT = """
const box = document.createElement("div"), near = 14;
box.id = "told";
box.hidden = true;
box.setAttribute("role", "status");
document.body.append(box);
for (const title of document.querySelectorAll("svg g > title")) {
  title.parentNode.dataset.told = title.textContent;
  title.remove();
}
const found = (event) => {
  const svg = event.target.closest("svg");
  let best = svg && event.target.closest("[data-told]"), least = near;
  if (svg && !best) for (const point of svg.querySelectorAll("[data-told]")) {
    const at = point.getBoundingClientRect();
    if (at.width > 3 * near || at.height > 3 * near) continue;
    const far = Math.hypot(event.clientX - at.x - at.width / 2, event.clientY - at.y - at.height / 2);
    if (far < least) [best, least] = [point, far];
  }
  return best;
};
const show = (event) => {
  const point = found(event);
  box.hidden = !point;
  if (!point) return;
  box.textContent = point.dataset.told;
  box.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - box.offsetWidth - 4)) + "px";
  box.style.top = Math.max(4, event.clientY - box.offsetHeight - 12) + "px";
};
addEventListener("pointermove", show);
addEventListener("click", show);
addEventListener("scroll", () => { box.hidden = true; }, true);
"""
DIGEST = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{DIGEST}'"

STYLE = """
:root { --ink: #222; --soft: #565656; --line: #d4d4d4; --page: #fff; --shade: #f5f6f7; --link: #0b5ea8;
  --bad: #b3261e; --bad-page: #fdecea; --helps: #0067a3; --hurts: #b34a00; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e4e4e4; --soft: #a9a9a9; --line: #444;
  --page: #17191c; --shade: #22252a; --link: #79b8f3; --bad: #ff8a80; --bad-page: #3b1a18; --helps: #6fbdf0;
  --hurts: #f2a365; } }
* { box-sizing: border-box; }
html { color-scheme: light dark; -webkit-text-size-adjust: 100%; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); overflow-wrap: break-word;
  max-width: 96rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
h1 { font-size: 1.7rem; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; }
a { color: var(--link); }
td a { color: inherit; text-decoration: none; }
td a:hover, td a:focus { text-decoration: underline; }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; margin: .5rem 0; list-style: none; }
p, figcaption, .notes { max-width: 60rem; }
.notes, figcaption { color: var(--soft); }
.notes { padding-left: 1.2rem; }
figure { margin: 0; }
figcaption { margin-top: .5rem; }
svg { display: block; width: 100%; height: auto; background: #fff; }
.label { color: var(--soft); margin: 0; }
.all { display: inline-block; margin: 0 0 .5rem; color: var(--link); cursor: pointer; }
.all input { margin: 0 .3rem 0 0; vertical-align: -.1em; }
#told { position: fixed; z-index: 1; max-width: min(24rem, 90vw); padding: .3rem .6rem; border-radius: 4px;
  background: #222; color: #fff; font-size: .85rem; pointer-events: none; box-shadow: 0 1px 6px #0006;
  overflow-wrap: anywhere; }
@media screen { .results:not(:has(.all :checked)) .more { display: none; } }
@media screen and (prefers-color-scheme: dark) { figure .wide { background: #1a1a1a !important; }
  svg { filter: invert(.9) hue-rotate(180deg); } }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.wide { overflow-x: auto; width: fit-content; max-width: 100%; border: 1px solid var(--line); border-radius: 4px;
  background: linear-gradient(to left, var(--page) 50%, transparent) right / 3rem 100% no-repeat local,
  linear-gradient(to left, var(--line), transparent) right / .8rem 100% no-repeat scroll; }
figure .wide { width: auto; max-width: 68rem; background: #fff; }
.wide:focus-visible { outline: 2px solid var(--link); }
.hint { display: none; color: var(--soft); font-size: .85rem; margin: .3rem 0 0; max-width: none; text-align: right; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tbody tr:last-child > * { border-bottom: 0; }
thead th { background: var(--shade); vertical-align: bottom; white-space: normal; }
tbody th { background: var(--page); font-weight: inherit; }
tbody th, thead th:first-child { position: sticky; left: 0; text-align: left; white-space: normal; min-width: 11rem;
  max-width: 22rem; overflow-wrap: anywhere; border-right: 1px solid var(--line); }
.numbered { margin-top: .75rem; }
.numbered tbody th, .numbered thead th:first-child { min-width: 3.5rem; }
.helps, .hurts { font-weight: 600; }
.helps { color: var(--helps); }
.hurts { color: var(--hurts); }
.checks th, .checks td { text-align: left; white-space: normal; min-width: 6rem; overflow-wrap: anywhere; }
.checks td:nth-child(2) { white-space: nowrap; }
.own > * { font-weight: 600; }
.bad > * { color: var(--bad); background: var(--bad-page); font-weight: 600; }
.failed { border: 2px solid var(--bad); border-radius: 4px; padding: .2rem 1rem; margin: 1rem 0;
  background: var(--bad-page); }
.failed strong, .failing > summary { color: var(--bad); font-weight: 700; }
details { margin: .3rem 0; }
summary { cursor: pointer; padding: .2rem 0; }
pre { border: 1px solid var(--line); border-radius: 4px; padding: .6rem .8rem; overflow-x: auto;
  background: var(--shade); font-size: .85rem; }
.about { white-space: pre-wrap; }
@media screen and (max-width: 48rem) { .hint { display: block; } }
@media screen and (max-width: 90rem) { .results .hint { display: block; } }
@supports (timeline-scope: --wide) {  /* elsewhere the widths above are a guess: what fits has no timeline */
  .results, figure, details { timeline-scope: --wide; }
  .wide { scroll-timeline: --wide inline; }
  @media screen { .results .hint, .hint { display: block; max-height: 0; margin: 0; overflow: hidden;
    animation: overflows linear both; animation-timeline: --wide; } }
}
@keyframes overflows { from, to { max-height: 2em; margin: .3rem 0 0; } }
@media screen and (max-width: 30rem) {
  body { padding: .6rem .6rem 3rem; }
  th, td { padding: .3rem .45rem; }
  tbody th, thead th:first-child { min-width: 6.5rem; max-width: 7.5rem; }
  .checks th, .checks td { min-width: 7rem; }
}
@media screen and (max-width: 40rem) {  /* a card a row */
  .results > .wide { overflow: visible; border: 0; background: none; width: auto; }
  .results > .hint { display: none !important; }
  .results table, .results tbody, .results tr, .results tbody th, .results td { display: block; width: auto; }
  .results thead { display: none; }
  .results tbody tr { border: 1px solid var(--line); border-radius: 6px; padding: .5rem .7rem; margin-bottom: .6rem; }
  .results tbody th { position: static; border: 0; padding: 0 0 .2rem; font-weight: 600; max-width: none; }
  .results td { display: flex; justify-content: space-between; gap: 1rem; border: 0; padding: .1rem 0;
    white-space: normal; }
  .results td::before { content: attr(data-label); flex: 0 1 40%; color: var(--soft); font-weight: 400;
    text-align: left; }
}
@page { size: A4; margin: 14mm; }
@media print {
  body { font-size: 9pt; padding: 0; max-width: none; }
  nav, .all, .hint, #told { display: none !important; }
  h2 { margin-top: 1.2rem; }
  h2, summary { break-after: avoid; }
  figure, tr, pre, .failed { break-inside: avoid; }
  .wide { overflow: visible; border: 0; background: none; }
  table { font-size: 6.5pt; }
  thead { display: table-header-group; }
  th, td { white-space: normal; padding: .15rem .25rem; min-width: 0 !important; }
  tbody th, thead th:first-child { position: static; }
  .results td:nth-child(2) { white-space: nowrap; }
  svg { min-width: 0 !important; max-height: 235mm; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  details::details-content { content-visibility: visible; display: block; }
}
"""
