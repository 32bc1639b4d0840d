// Everything around the grid: texts, details of a cell, the ablation table.

function make(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "style") node.style.cssText = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const number = (v) => Number(v.toFixed(3)).toString();
const percent = (v) => `${(100 * v).toFixed(v < 0.1 ? 1 : 0)}%`;
const steps = (n) => `${n} step${n === 1 ? "" : "s"}`;
const facts = (rows) => make("dl", {}, ...rows.flatMap(([name, value]) =>
  [make("dt", {}, name), make("dd", {}, String(value))]));
const passage = (n) =>
  make("pre", {class: "text", tabindex: "0"}, D.texts[n] || "(empty)");

function share(name, value, hue) {
  const bar = make("b", {style: `width:${100 * value}%;background:${hue}`});
  return make("div", {class: "share"},
    make("span", {}, name), make("div", {}, bar),
    make("span", {}, percent(value)));
}

// Properties of the chunk of a step.
function ofChunk(n) {
  const found = [];
  if (!D.active[n]) found.push("padding");
  if (D.ground_truth && D.ground_truth[n] === FACT) found.push("contains a fact");
  if (D.ground_truth && D.ground_truth[n] === ASKED) found.push("contains the queried fact");
  if (D.invalidates && D.invalidates[n] >= 0) {
    found.push(`invalidates the fact of chunk ${D.invalidates[n]}`);
  }
  if (n === D.answer.chunk) found.push("gives the answer");
  return found;
}

function writesOf(n) {
  return D.write_strength[n].flatMap((strength, k) => {
    if (!D.candidates[n][k]) return [];
    const m = D.source[n].indexOf(k), u = D.update_source[n].indexOf(k);
    const where = m >= 0 ? `written to slot ${m}`
      : u >= 0 ? `updates slot ${u}` : "not stored";
    return [[`candidate ${k}`, `strength ${number(strength)}, ${where}`]];
  });
}

function ofStep(n) {
  const s = D.series, more = ofChunk(n);
  return [
    make("h2", {}, `Step ${n}`),
    ...(more.length ? [make("p", {}, more.join("; "))] : []),
    passage(n),
    make("h3", {}, "In this step"),
    facts([
      ["live slots", `${s.used[n]} of ${M}`],
      ["mean age", number(s.age[n])],
      ["written", `${s.writes[n]}, ${s.evictions[n]} by eviction`],
      ["updated", s.updates[n]],
      ["forgotten", s.forgets[n]],
    ]),
    make("h3", {}, "Write candidates"),
    facts(writesOf(n)),
  ];
}

// How the slot lost the item that it held up to step `end`.
function fate(end, m) {
  const n = end + 1;
  if (n >= N) return "held to the end";
  const code = D.operation[n][m];
  if (code === REPLACED) {
    const k = D.source[n][m];
    return `replaced in step ${n} by chunk ${n} (candidate ${k}, strength ` +
      `${number(D.write_strength[n][k])})`;
  }
  if (code === RENEWED) return `forgotten in step ${n}, then rewritten`;
  return `forgotten in step ${n}`;
}

// The chunks that a slot holds after a step: the one that was written, and
// those that updated it since.
function chunksOf(n, m) {
  const born = D.born[n][m], held = born < 0 ? [] : [born];
  for (let i = born + 1; born >= 0 && i <= n; i++) {
    if (D.operation[i][m] === UPDATED) held.push(i);
  }
  return held;
}

function ofItem(n, m) {
  const {born, end} = lifeOf(n, m), [, ...updates] = chunksOf(n, m);
  const rows = [
    ["written", born === n ? "in this step" : `${steps(n - born)} ago`],
    ["age", D.age[n][m]],
    ["strength", number(D.strength[n][m])],
    ["usage", number(D.usage[n][m])],
  ];
  const k = D.source[born][m];
  rows.push(["write strength", `${number(D.write_strength[born][k])} (candidate ${k})`]);
  if (updates.length) rows.push(["updates", updates.length]);
  rows.push(["then", fate(end, m)]);
  const more = ofChunk(born).filter((x) => x !== "gives the answer");
  const note = more.length ? ` (${more.join("; ")})` : "";
  return [
    make("h3", {}, `Holds chunk ${born}${note}`), passage(born),
    ...updates.flatMap((i) => [
      make("h3", {}, `Updated by chunk ${i}`), passage(i)]),
    facts(rows),
  ];
}

function ofBefore(n, m) {
  const born = n ? D.born[n - 1][m] : -1;
  if (born < 0 || D.born[n][m] === born) return [];
  return [
    make("h3", {}, `Before: chunk ${born}, until age ${D.age[n - 1][m]}`),
    passage(born),
  ];
}

function ofCell(n, m) {
  const code = D.operation[n][m];
  const [retain, update, forget] = D.action_probs[n][m];
  const swatch = make("i", {style: `background:${css(shade(n, m))}`});
  const actions = D.alive_before[n][m]
    ? [share("retain", retain, D.colours[RETAINED]),
       share("update", update, D.colours[UPDATED]),
       share("forget", forget, D.colours[FORGOTTEN])]
    : [make("p", {class: "quiet"}, "none: the slot was free before the step")];
  return [
    make("h2", {}, swatch, `Slot ${m}, step ${n}: ${D.operations[code]}`),
    ...(D.born[n][m] >= 0 ? ofItem(n, m) : []),
    ...ofBefore(n, m),
    make("h3", {}, "Action probabilities of the policy"),
    ...actions,
    make("h3", {}, `Read by chunk ${n}: read mass ` +
      percent(D.attention[n][m])),
    passage(n),
  ];
}

function refresh() {
  const now = pointed || chosen;
  const parts = !now
    ? [make("h2", {}, "Details"),
       make("p", {class: "quiet"}, "Choose a cell of the grid (a slot at a " +
         "step), or a whole step above or below the slots.")]
    : now.m === null ? ofStep(now.n) : ofCell(now.n, now.m);
  $("detail").replaceChildren(...parts);
  draw();
}

function choose(cell) {
  chosen = cell;
  if (cell) {
    const left = cell.n * width, far = left + width - scroller.clientWidth;
    if (left < scroller.scrollLeft || far > scroller.scrollLeft) {
      scroller.scrollLeft = (left + far) / 2;
    }
  }
  refresh();
}

function listen() {
  const same = (a, b) => a && b && a.n === b.n && a.m === b.m;
  canvas.addEventListener("pointermove", (e) => {
    if (e.pointerType !== "mouse") return;
    const cell = under(e);
    if (same(cell, pointed)) return;
    pointed = cell;
    refresh();
  });
  canvas.addEventListener("pointerleave", () => {
    pointed = null;
    refresh();
  });
  canvas.addEventListener("click", (e) => {
    const cell = under(e);
    choose(same(cell, chosen) ? null : cell);
  });
  scroller.addEventListener("keydown", (e) => {
    const {n, m} = chosen || {n: 0, m: 0};
    const to = (n, m) => ({
      n: Math.max(0, Math.min(N - 1, n)),
      m: m === null ? 0 : Math.max(0, Math.min(M - 1, m)),
    });
    const keys = {
      ArrowLeft: () => to(n - 1, m), ArrowRight: () => to(n + 1, m),
      ArrowUp: () => to(n, m - 1), ArrowDown: () => to(n, m + 1),
      PageUp: () => to(n - 10, m), PageDown: () => to(n + 10, m),
      Home: () => to(0, m), End: () => to(N - 1, m), Escape: () => null,
    };
    if (!keys[e.key]) return;
    e.preventDefault();
    pointed = null;
    choose(chosen || e.key === "Escape" ? keys[e.key]() : {n, m});
  });
  scroller.addEventListener("scroll", () => requestAnimationFrame(draw));
  addEventListener("resize", () => draw());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    readTheme();
    refresh();
  });
  $("colour").addEventListener("change", (e) => {
    shown = e.target.value;
    refresh();
  });
  $("in").addEventListener("click", () => setWidth(1.4 * width));
  $("out").addEventListener("click", () => setWidth(width / 1.4));
  $("fit").addEventListener("click", () => setWidth(scroller.clientWidth / N));
}

function writeLegend() {
  const entry = (sign, name) => make("li", {}, sign, name);
  const codes =
    [WRITTEN, REPLACED, RENEWED, UPDATED, RETAINED, FORGOTTEN, FREE];
  for (const code of codes) {
    const hue = code === FREE ? "var(--free)" : D.colours[code];
    $("legend").append(
      entry(make("i", {style: `background:${hue}`}), D.operations[code]));
  }
  if (D.ground_truth) $("legend").append(entry("● ", "fact"), entry("★ ", "queried fact"));
  if (D.invalidates && D.invalidates.some((v, n) => v >= 0 && !D.ground_truth[n])) {
    $("legend").append(entry("× ", "invalidates a fact"));
  }
  $("legend").append(entry("▲ ", "gives the answer"), "paler: lower strength");
}

function writeLabels() {
  const at = (y, text) =>
    $("labels").append(make("span", {style: `top:${y}px`}, text));
  at(AXIS / 2, "step");
  if (D.ground_truth) at(AXIS + STRIP / 2, "facts");
  const every = Math.ceil(14 / ROW);
  for (let m = 0; m < M; m += every) {
    at(TOP + (m + 0.5) * ROW, m ? m : "slot 0");
  }
  at(curveAt(0) + CURVE / 2, `live slots, 0-${M}`);
  at(curveAt(1) + CURVE / 2, `mean age, 0-${topAge}`);
  at(curveAt(2) + CURVE / 2, `operations, 0-${topCount}`);
}

function writeVerdict() {
  const a = D.answer, p = a.probability[0];
  $("facts").textContent = D.facts.join(" · ");
  const given = make("b", {}, a.given);
  if (a.label === null) {
    $("verdict").append("The model answers ", given, ` (${percent(p)}).`);
    return;
  }
  const judged = make(
    "span", {class: a.right ? "good" : "bad"}, a.right ? "right" : "wrong");
  $("verdict").append("The model answers ", given, ", which is ", judged,
    a.right ? ` (${percent(p)}).` :
      `: the right answer is ${a.label}, to which it gives ${percent(p)}.`);
}

function writeRemoval() {
  const a = D.answer, at = a.chunk;
  const what = a.label === null ? `the answer ${a.given}` :
    `the right answer, ${a.label}`;
  // A read sees the memory after the step before; pooling, the last one.
  const read = a.pooled ? N - 1 : at - 1;
  $("explain").textContent = (a.pooled
    ? "The answer is pooled from the slots after the last step. "
    : `The answer is given in step ${at}, from the read of its chunk. `) +
    `The table has the probability of ${what}, when one slot is removed just ` +
    "before. Unlike read mass, this shows what the answer depends on.";
  const head = [["slot", ""], [a.pooled ? "share" : "read mass", "number"],
    ["probability without it", "number"], ["change", "number"],
    ["answer without it", ""], ["content", ""]];
  const row = (kind, name, mass, i, holds) => {
    // Adding 0 makes 0 of -0.
    const change = Number((a.probability[i] - a.probability[0]).toFixed(3)) + 0;
    return make("tr", {class: kind},
      make("td", {}, name), make("td", {class: "number"}, mass),
      make("td", {class: "number"}, a.probability[i].toFixed(3)),
      make("td", {class: "number"}, i ? (change > 0 ? "+" : "") +
        change.toFixed(3) : ""),
      make("td", {class: a.changed[i] ? "bad" : ""},
        a.answers[i] + (a.changed[i] ? " (changed)" : "")),
      make("td", {class: "holds"}, holds));
  };
  const rows = [row("whole", "no slot removed", "", 0, "")];
  // In the order of read mass.
  const order = [...a.mass.keys()].sort((i, j) => a.mass[j] - a.mass[i]);
  for (const m of order) {
    const held = read >= 0 ? chunksOf(read, m) : [];
    let text = held.map((i) => `${i}: ${D.texts[i]}`).join(" · ") || "free";
    if (text.length > 90) text = text.slice(0, 88) + "…";
    const line = row("slot", `slot ${m}`, percent(a.mass[m]), m + 1, text);
    line.addEventListener("click", () => choose({n: Math.max(read, 0), m}));
    rows.push(line);
  }
  rows.push(row("whole", "all slots removed", "", M + 1, ""));
  $("removal").append(
    make("thead", {}, make("tr", {}, ...head.map(([name, kind]) =>
      make("th", {class: kind}, name)))),
    make("tbody", {}, ...rows));
}

readTheme();
writeVerdict();
writeLegend();
writeLabels();
writeRemoval();
listen();
setWidth(Math.max(7, Math.min(44, Math.floor(scroller.clientWidth / N))));
// page.html#3,5 opens with slot 5 in step 3 chosen.
const asked = location.hash.match(/^#(\d+),(\d+)$/);
if (asked && asked[1] < N && asked[2] < M) {
  choose({n: Number(asked[1]), m: Number(asked[2])});
} else {
  refresh();
}
