"use strict";
// The grid of slots (down) by steps (across), and the curves under it. Only
// the visible part is drawn, so texts may have any length.

addEventListener("error", (e) => {
  document.documentElement.dataset.error = e.message;
});

const $ = (id) => document.getElementById(id);
const D = JSON.parse($("data").textContent);
const N = D.operation.length, M = D.operation[0].length;
const [FREE, RETAINED, UPDATED, FORGOTTEN, WRITTEN, REPLACED, RENEWED] =
  D.operations.keys();
const FACT = 1, ASKED = 2;
const scroller = $("scroller"), canvas = $("grid");
const pen = canvas.getContext("2d");

// Heights of the parts, from the top.
const ROW = Math.max(9, Math.min(28, Math.floor(430 / M)));
const AXIS = 18, STRIP = 18, CURVE = 46, GAP = 14;
const TOP = AXIS + STRIP + 3, BOTTOM = TOP + M * ROW;
const curveAt = (i) => BOTTOM + GAP + i * (CURVE + GAP);
const HEIGHT = curveAt(2) + CURVE + 6;

let width = 0;  // of a step
let chosen = null, pointed = null;  // {n, m}; m is null for a whole step
let shown = "operation";

const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const blend = (under, over, weight) =>
  rgb(under).map((u, i) => Math.round(u + weight * (rgb(over)[i] - u)));
const css = (c) => `rgb(${c.join()})`;
// Black or white, whichever has more contrast (WCAG 2, relative luminance).
const linear = (v) => (v / 255) ** 2.2;
const inkOn = ([r, g, b]) =>
  0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) > 0.179
    ? "#000000" : "#ffffff";

let theme;
function readTheme() {
  theme = {};
  for (const name of ["paper", "ink", "quiet", "line", "free", "mark",
    "curve", "faintest"]) {
    theme[name] = colour("--" + name);
  }
}

// The same hues and shades as in the timeline plot of a run.
function shade(n, m) {
  const code = D.operation[n][m], strength = Math.min(1, D.strength[n][m]);
  if (shown === "attention") {
    return blend(theme.free, theme.ink, D.attention[n][m] / topMass);
  }
  if (code === FREE) return rgb(theme.free);
  let weight = 1;
  if (code === RETAINED) {
    const least = Number(theme.faintest);
    weight = least + (0.75 - least) * strength;
  }
  if (code !== RETAINED && code !== FORGOTTEN) weight = 0.5 + 0.5 * strength;
  return blend(theme.paper, D.colours[code], weight);
}
const topMass = Math.max(1e-6, ...D.attention.map((row) => Math.max(...row)));

// The first and the last step of the item in a cell.
function lifeOf(n, m) {
  const born = D.born[n][m];
  if (born < 0) return null;
  let end = n;
  while (end + 1 < N && D.born[end + 1][m] === born) end++;
  return {born, end};
}

function setWidth(wanted) {
  const middle = (scroller.scrollLeft + scroller.clientWidth / 2) / width;
  width = Math.max(1, Math.min(48, wanted));
  $("room").style.width = `${width * N}px`;
  $("room").style.height = `${HEIGHT}px`;
  scroller.scrollLeft = middle * width - scroller.clientWidth / 2;
  draw();
}

function draw() {
  const across = Math.ceil(Math.min(scroller.clientWidth, width * N));
  const sharp = window.devicePixelRatio || 1;
  canvas.width = Math.round(across * sharp);
  canvas.height = Math.round(HEIGHT * sharp);
  canvas.style.width = `${across}px`;
  canvas.style.height = `${HEIGHT}px`;
  pen.setTransform(sharp, 0, 0, sharp, 0, 0);
  pen.clearRect(0, 0, across, HEIGHT);
  const left = scroller.scrollLeft;
  const first = Math.max(0, Math.floor(left / width));
  const last = Math.min(N - 1, Math.floor((left + across) / width));
  const x = (n) => n * width - left;
  drawAxis(first, last, x);
  for (let n = first; n <= last; n++) drawStep(n, x(n));
  drawCurves(first, last, x, across);
  drawMarks(x);
  canvas.dataset.cells = (last - first + 1) * M;
}

function drawAxis(first, last, x) {
  pen.font = "11px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  // A number about every 44 pixels, at 1, 2 or 5 times a power of ten.
  let every = 1;
  for (let i = 0; every * width < 44; i++) every *= i % 3 === 1 ? 2.5 : 2;
  pen.fillStyle = theme.quiet;
  for (let n = Math.ceil(first / every) * every; n <= last; n += every) {
    pen.fillText(n, Math.max(x(n) + width / 2, 8), AXIS / 2);
  }
}

function drawStep(n, left) {
  const gap = width >= 5 ? 1 : 0, wide = Math.max(width - gap, 0.5);
  if (D.active[n]) {
    pen.fillStyle = theme.free;
    pen.fillRect(left, AXIS + 2, wide, STRIP - 4);
  }
  for (let m = 0; m < M; m++) {
    const c = shade(n, m);
    pen.fillStyle = css(c);
    pen.fillRect(left, TOP + m * ROW, wide, ROW - 1);
    const code = D.operation[n][m];
    if (width < 16 || ROW < 14 || shown !== "operation") continue;
    if (code === FREE || code === RETAINED) continue;
    pen.fillStyle = inkOn(c);
    pen.font = "600 11px system-ui, sans-serif";
    const at = TOP + m * ROW + ROW / 2;
    pen.fillText(D.operations[code][0].toUpperCase(), left + wide / 2, at);
  }
  const truth = D.ground_truth ? D.ground_truth[n] : 0;
  const invalidates = D.invalidates && D.invalidates[n] >= 0;
  if (!truth && !invalidates) return;
  pen.fillStyle = theme.mark;
  pen.font = `${Math.max(9, Math.min(15, width + 2))}px system-ui, sans-serif`;
  const sign = truth === ASKED ? "★" : truth === FACT ? "●" : "×";
  pen.fillText(sign, left + wide / 2, AXIS + STRIP / 2);
}

function drawCurves(first, last, x, across) {
  const s = D.series;
  const frame = (i, top) => {
    const y = curveAt(i);
    pen.strokeStyle = theme.line;
    pen.lineWidth = 1;
    pen.strokeRect(0.5, y + 0.5, across - 1, CURVE - 1);
    return (v) => y + CURVE - 2 - (CURVE - 4) * v / Math.max(top, 1e-6);
  };
  const line = (values, y) => {
    pen.beginPath();
    for (let n = first; n <= last; n++) {
      pen.lineTo(x(n) + (n === first ? 0 : width / 2), y(values[n]));
    }
    pen.lineTo(x(last + 1), y(values[last]));
    pen.strokeStyle = theme.curve;
    pen.lineWidth = 1.8;
    pen.stroke();
  };
  line(s.used, frame(0, M));
  line(s.age, frame(1, topAge));
  const y = frame(2, topCount), wide = width > 4 ? width - 1 : width;
  for (let n = first; n <= last; n++) {
    let base = 0;
    const parts = [
      [WRITTEN, s.writes[n] - s.evictions[n]], [REPLACED, s.evictions[n]],
      [UPDATED, s.updates[n]], [FORGOTTEN, s.forgets[n]],
    ];
    for (const [code, count] of parts) {
      pen.fillStyle = D.colours[code];
      pen.fillRect(x(n), y(base + count), wide, y(base) - y(base + count));
      base += count;
    }
  }
}
const topAge = Math.ceil(Math.max(1, ...D.series.age));
const topCount = Math.max(1, ...D.series.writes.map(
  (w, n) => w + D.series.updates[n] + D.series.forgets[n]));

function drawMarks(x) {
  // The step that gives the answer.
  pen.fillStyle = theme.mark;
  pen.beginPath();
  const at = x(D.answer.chunk) + width / 2;
  pen.moveTo(at - 5, BOTTOM + 9);
  pen.lineTo(at + 5, BOTTOM + 9);
  pen.lineTo(at, BOTTOM + 2);
  pen.fill();
  const now = pointed || chosen;
  if (!now) return;
  pen.strokeStyle = theme.mark;
  pen.lineWidth = 1;
  pen.setLineDash([2, 3]);
  pen.strokeRect(x(now.n) - 0.5, AXIS + 0.5, width, HEIGHT - AXIS - 2);
  pen.setLineDash([]);
  for (const cell of [chosen, pointed]) {
    if (!cell || cell.m === null) continue;
    const life = lifeOf(cell.n, cell.m), y = TOP + cell.m * ROW;
    pen.lineWidth = 1.5;
    if (life) {
      const long = (life.end - life.born + 1) * width;
      pen.strokeRect(x(life.born) - 1, y - 1, long + 1, ROW + 1);
    }
    pen.lineWidth = 3;
    pen.strokeRect(x(cell.n) - 1, y - 1, width + 1, ROW + 1);
  }
}

// The cell under a pointer: {n, m}; m is null outside the slots.
function under(event) {
  const box = canvas.getBoundingClientRect();
  const across = event.clientX - box.left + scroller.scrollLeft;
  const m = Math.floor((event.clientY - box.top - TOP) / ROW);
  const n = Math.max(0, Math.min(N - 1, Math.floor(across / width)));
  return {n, m: m >= 0 && m < M ? m : null};
}
