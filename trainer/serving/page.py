"""The page to try the model in a browser: one file that asks nobody but this server."""

import json
from html import escape

from trainer.config.about import About

SHOWN = 10  # labels with a bar: of more, the most probable ones

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src blob: data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
}

STYLE = """
:root { color-scheme: light dark; --back: #fff; --panel: #f4f6f8; --text: #1b2025;
  --muted: #59636e; --line: #c9d1d9; --track: #e9edf1; --bar: #9db0cb; --best: #2a5db0;
  --problem: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --back: #15181b; --panel: #1f2428; --text: #e7eaed;
  --muted: #a2acb6; --line: #454e57; --track: #262c31; --bar: #52657f; --best: #8fb6ff;
  --problem: #ff8f85; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; padding: 32px 20px 48px; max-width: 960px; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 28px; line-height: 1.2; overflow-wrap: anywhere; }
header p, footer { color: var(--muted); }
header p { margin: 4px 0 28px; }
main { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 36px;
  align-items: start; }
.drop { position: relative; display: flex; flex-direction: column; align-items: center;
  justify-content: center; aspect-ratio: 1; padding: 24px; text-align: center; cursor: pointer;
  border: 2px dashed var(--line); border-radius: 10px; background: var(--panel); }
.drop:hover, .drop:focus-within, .over .drop { border-color: var(--best); }
.over .drop { border-style: solid; }
.drop.filled { padding: 0; border-style: solid; border-color: transparent; }
.drop.filled:focus-within, .over .drop.filled { border-color: var(--best); }
.drop input { position: absolute; inset: 0; width: 100%; height: 100%; opacity: 0;
  cursor: pointer; }
.drop b { font-size: 18px; font-weight: 600; }
.drop img { width: 100%; height: 100%; object-fit: contain; border-radius: 8px; }
.below { display: flex; justify-content: space-between; gap: 16px; min-height: 24px;
  margin: 8px 2px 0; font-size: 14px; color: var(--muted); }
.below span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.below span:last-child { flex: none; }
.answer { display: flex; justify-content: space-between; align-items: baseline; gap: 16px;
  margin: 0 0 20px; min-height: 42px; font-size: 30px; line-height: 1.4; font-weight: 600; }
.answer span:first-child { overflow-wrap: anywhere; }
.answer.asks { font-size: 18px; font-weight: 400; color: var(--muted); }
.answer.fails { font-size: 18px; font-weight: 400; color: var(--problem); }
ol { list-style: none; margin: 0; padding: 0; }
li { margin-bottom: 14px; color: var(--muted); }
li div { display: flex; justify-content: space-between; gap: 16px; }
li div span:first-child { overflow-wrap: anywhere; }
li.holds { color: var(--text); font-weight: 600; }
.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.track { display: block; position: relative; height: 8px; margin-top: 4px; border-radius: 4px;
  background: var(--track); }
.track i { display: block; height: 100%; width: 0; border-radius: 4px; background: var(--bar); }
.holds .track i { background: var(--best); }
.track u { position: absolute; top: -3px; bottom: -3px; width: 2px; border-radius: 1px;
  background: var(--text); }
.more { margin: 0; font-size: 14px; color: var(--muted); }
footer { margin-top: 44px; padding-top: 16px; border-top: 1px solid var(--track);
  font-size: 14px; }
footer p { margin: 0 0 6px; }
pre { margin: 0 0 14px; padding: 10px 12px; border-radius: 6px; white-space: pre-wrap;
  overflow-wrap: anywhere; background: var(--panel); color: var(--text);
  font: 13px/1.5 ui-monospace, monospace; }
a { color: inherit; }
@media (max-width: 640px) { main { grid-template-columns: minmax(0, 1fr); gap: 24px; }
  .drop { aspect-ratio: 4 / 3; } }
"""

SCRIPT = """
const about = JSON.parse(document.getElementById("about").textContent);
const at = id => document.getElementById(id);
const many = about.labels.length > about.shown;
const percent = share => (100 * share).toFixed(1) + " %";
let asked = 0, shownURL = "";

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

function row(label) {
  const line = element("li", ""), head = element("div", ""), track = element("span", "track");
  head.append(element("span", "", label), element("span", "number"));
  track.append(element("i", ""));
  const least = about.thresholds[about.labels.indexOf(label)];
  if (least !== undefined) {
    const mark = element("u", "");
    mark.style.left = percent(least).replace(" ", "");
    mark.title = "holds from " + percent(least) + " on";
    track.append(mark);
  }
  line.append(head, track);
  return line;
}

function fill(line, share, holds) {
  line.classList.toggle("holds", holds);
  line.querySelector(".number").textContent = percent(share);
  line.querySelector("i").style.width = percent(share).replace(" ", "");
}

function list(labels) {
  at("bars").replaceChildren(...labels.map(row));
  at("more").textContent = [
    ...(many ? [`${about.shown} of ${about.labels.length} labels.`] : []),
    ...(about.thresholds.length ? ["From its mark on a label holds."] : []),
  ].join(" ");
}

function say(kind, text, number = "") {
  at("answer").className = "answer " + kind;
  at("answer").replaceChildren(element("span", "", text), element("span", "number", number));
}

function show(found) {
  const share = label => found.probabilities[label];
  const labels = found.labels ?? [found.label];
  const order = many ? [...about.labels].sort((a, b) => share(b) - share(a)) : about.labels;
  const shown = order.slice(0, about.shown);
  list(shown);
  shown.forEach((label, place) =>
    fill(at("bars").children[place], share(label), labels.includes(label)));
  const one = about.task === "single_label";
  say("", labels.join(", ") || "none of them", one ? percent(found.probability) : "");
}

function preview(file) {
  URL.revokeObjectURL(shownURL);
  shownURL = URL.createObjectURL(file);
  at("picture").src = shownURL;
  at("picture").alt = file.name;
  at("picture").hidden = false;
  at("asks").hidden = true;
  at("drop").classList.add("filled");
  at("name").textContent = file.name;
  at("took").textContent = "";
}

async function ask(file) {
  const turn = ++asked, start = performance.now();
  preview(file);
  const kind = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  let found, failed;
  try {
    const headers = {"Content-Type": kind};
    const reply = await fetch("predict", {method: "POST", headers, body: file});
    found = await reply.json();
    failed = found.error;
  } catch (error) {
    failed = "the server does not answer";
  }
  if (turn !== asked) return;  // another picture came meanwhile
  if (failed) {
    list(about.labels.slice(0, about.shown));
    return say("fails", failed);
  }
  at("took").textContent = Math.round(performance.now() - start) + " ms";
  show(found.predictions[0]);
}

const first = files => { const file = [...files][0]; if (file) ask(file); };
const over = event => { event.preventDefault(); document.body.classList.add("over"); };
const left = () => document.body.classList.remove("over");
at("file").addEventListener("change", event => { first(event.target.files);
  event.target.value = ""; });
addEventListener("dragover", over);
addEventListener("dragleave", left);
addEventListener("drop", event => { event.preventDefault(); left();
  first(event.dataTransfer.files); });
addEventListener("paste", event => first(event.clipboardData.files));
at("picture").addEventListener("error", () => {  // TIFF or HEIC, which browsers cannot draw
  at("picture").hidden = true;
  at("asks").hidden = false;
  at("drop").classList.remove("filled");
});
at("call").textContent =
  `curl -H 'Content-Type: image/jpeg' --data-binary @picture.jpg ${new URL("predict", location)}`;
list(about.labels.slice(0, about.shown));
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{name}</title><style>{style}</style></head><body>
<header><h1>{name}</h1><p>{facts}</p></header>
<main>
<div><label class="drop" id="drop">
<input type="file" id="file" accept="image/*" aria-label="Choose a picture">
<span id="asks"><b>Drop a picture here</b><br>or paste it, or click to choose one</span>
<img id="picture" alt="" hidden></label>
<p class="below"><span id="name"></span><span id="took"></span></p></div>
<section aria-live="polite">
<p class="answer asks" id="answer"><span>What the model knows</span></p>
<ol id="bars"></ol><p class="more" id="more"></p></section>
</main>
<footer><p>The same from a terminal:</p><pre id="call"></pre>
<p>config {config} · <a href="health">health</a> · <a href="metrics">metrics</a>
· <a href="v2">Open Inference Protocol</a></p></footer>
<script type="application/json" id="about">{about}</script>
<script>{script}</script>
</body></html>
"""


def page(about: About) -> str:
    """The whole page; labels and names are shown as text, whatever is in them."""
    height, width = about.image_size
    facts = [
        f"{len(about.labels)} labels" + (", several may hold" if about.thresholds else ""),
        f"sees {height} × {width} pixels",
        *_goodness(about),
    ]
    told = {
        "labels": about.labels,
        "thresholds": about.thresholds,
        "task": about.task,
        "shown": SHOWN,
    }
    return PAGE.format(
        name=escape(about.name),
        facts=escape(" · ".join(facts)),
        config=escape(about.config_sha256[:12] or "unknown"),
        about=json.dumps(told).replace("<", "\\u003c"),  # "</script>" in a label ends nothing
        style=STYLE,
        script=SCRIPT,
    )


def _goodness(about: About) -> list[str]:
    """The one figure that says how good the model is, if it was evaluated."""
    name = "macro_f1" if about.task == "multi_label" else "accuracy"
    if name not in about.metrics:
        return []
    return [f"{name.replace('_', ' ')} {about.metrics[name]:.3f} on test pictures"]
