// Draws charts as SVG: axes, lines with bands, points, rules; a tooltip by pointer and by arrow keys.
// Knows nothing of suites. All text goes in as text, never as markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const COLOURS = 8;
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "down"];

function element(name, attributes = {}, ...children) {
  const node = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

// Colour, dash and marker of the i-th row: no two of the first 192 share all three.
function styleOf(index, control) {
  return {
    colour: control ? "var(--control)" : `var(--c${index % COLOURS})`,
    dash: control ? DASHES[(index % 3) + 1] : DASHES[Math.floor(index / COLOURS) % DASHES.length],
    shape: SHAPES[index % SHAPES.length],
  };
}

function markerPath(shape, x, y, r) {
  const at = (...points) => `M${points.map(([dx, dy]) => `${(x + dx * r).toFixed(1)} ${(y + dy * r).toFixed(1)}`).join("L")}Z`;
  if (shape === "square") return at([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]);
  if (shape === "triangle") return at([0, -1.2], [1.1, 0.8], [-1.1, 0.8]);
  if (shape === "down") return at([0, 1.2], [1.1, -0.8], [-1.1, -0.8]);
  if (shape === "diamond") return at([0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]);
  if (shape === "cross") {
    const a = 0.4;
    return at([-a, -1.1], [a, -1.1], [a, -a], [1.1, -a], [1.1, a], [a, a], [a, 1.1], [-a, 1.1], [-a, a], [-1.1, a], [-1.1, -a], [-a, -a]);
  }
  return `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
}

// Four significant digits, with k, M, G ... for large numbers.
function short(value) {
  const size = Math.abs(value);
  if (size >= 1e21 || (size > 0 && size < 1e-3)) return value.toExponential(2).replace("e+", "e").replace(".00e", "e");
  for (const [unit, sign] of [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
    if (size >= unit * (sign === "k" ? 10 : 1)) return `${+(value / unit).toPrecision(4)} ${sign}`;
  return String(+value.toPrecision(4));
}

function scale(values, log, from, to) {
  const usable = values.filter((v) => Number.isFinite(v) && (!log || v > 0)).map((v) => (log ? Math.log10(v) : v));
  let [low, high] = usable.length ? [Math.min(...usable), Math.max(...usable)] : [0, 1];
  if (high - low < 1e-9) [low, high] = log ? [low - 0.5, high + 0.5] : [low - Math.abs(low || 1) * 0.05, high + Math.abs(high || 1) * 0.05];
  const at = (v) => from + (((log ? Math.log10(v) : v) - low) / (high - low)) * (to - from);
  const pad = (share) => { const extra = (high - low) * share; low -= extra; high += extra; };
  return { at, pad, ticks: (count) => (log ? logTicks(low, high, count) : ticks(low, high, count)) };
}

function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) found.push(+(i * step).toPrecision(12));
  return found;
}

function logTicks(low, high, count) {
  const stride = Math.max(1, Math.ceil((high - low) / count));
  const steps = high - low > 1.5 ? [1] : high - low > 0.6 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
  const found = [];
  for (let p = Math.floor(low); p <= Math.ceil(high); p++)
    for (const s of steps) {
      const place = p + Math.log10(s);
      if (place >= low - 1e-9 && place <= high + 1e-9 && (s > 1 || p % stride === 0)) found.push(10 ** p * s);
    }
  return found;
}

// spec: {label, x: {title, log}, y: {title, log}, height, mini,
//        series: [{name, style, points: [{x, y, low, high, tip: [text]}], line, thin, band, marks}], rules: [{y, name, style}],
//        path: [{x, y}]}
function draw(host, spec) {
  const width = Math.max(220, host.clientWidth || 640);
  const height = spec.height || Math.min(420, Math.max(260, width * 0.5));
  const edge = spec.mini ? { left: 46, right: 8, top: 8, bottom: 32 } : { left: 58, right: 14, top: 12, bottom: 46 };
  const shown = spec.series.map((s) => ({ ...s, points: s.points.filter((p) => usable(p, spec)) })).filter((s) => s.points.length);
  const every = shown.flatMap((s) => s.points);
  const x = scale(every.map((p) => p.x), spec.x.log, edge.left, width - edge.right);
  const y = scale(
    every.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]).concat((spec.rules || []).map((r) => r.y)), spec.y.log, height - edge.bottom, edge.top);
  x.pad(shown.some((s) => !s.line) ? 0.06 : 0.01);
  y.pad(0.05);
  const svg = element("svg:svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": spec.label, tabindex: 0, class: "chart" });
  axes(svg, spec, x, y, width, height, edge);
  for (const rule of spec.rules || []) {
    svg.append(element("svg:line", { x1: edge.left, x2: width - edge.right, y1: y.at(rule.y), y2: y.at(rule.y), class: "rule", style: `stroke:${rule.style.colour}` }));
    svg.append(element("svg:text", { x: width - edge.right - 4, y: y.at(rule.y) - 4, class: "rule-name", "text-anchor": "end" }, rule.name));
  }
  if (spec.path && spec.path.length) svg.append(element("svg:path", { d: `${stair(spec.path, x, y)}H${width - edge.right}`, class: "front" }));
  const placed = shown.map((s) => ({ ...s, points: s.points.map((p) => ({ ...p, px: x.at(p.x), py: y.at(p.y) })) }));
  for (const s of placed) series(svg, s, y);
  if (!every.length) svg.append(element("svg:text", { x: width / 2, y: height / 2, class: "nothing", "text-anchor": "middle" }, "nothing to draw: not recorded, or all rows hidden"));
  const spot = element("svg:circle", { r: 6, class: "spot", visibility: "hidden" });
  svg.append(spot);
  const tip = element("div", { class: "tip", role: "status", hidden: "" });
  host.replaceChildren(svg, tip);
  names(svg, placed.filter((s) => s.named), edge.left, width, height - edge.bottom);  // measured, so drawn when in the page
  pointing(svg, tip, spot, placed, width);
}

function usable(point, spec) {
  return [[point.x, spec.x.log], [point.y, spec.y.log]].every(([v, log]) => typeof v === "number" && Number.isFinite(v) && (!log || v > 0));
}

function axes(svg, spec, x, y, width, height, edge) {
  for (const value of y.ticks(spec.mini ? 3 : 6)) {
    svg.append(element("svg:line", { x1: edge.left, x2: width - edge.right, y1: y.at(value), y2: y.at(value), class: "grid" }));
    svg.append(element("svg:text", { x: edge.left - 6, y: y.at(value) + 4, class: "tick", "text-anchor": "end" }, short(value)));
  }
  for (const value of x.ticks(Math.max(4, Math.floor(width / 90)))) {
    if (x.at(value) < edge.left - 1 || x.at(value) > width - edge.right + 1) continue;
    svg.append(element("svg:line", { x1: x.at(value), x2: x.at(value), y1: height - edge.bottom, y2: height - edge.bottom + 4, class: "axis" }));
    svg.append(element("svg:text", { x: x.at(value), y: height - edge.bottom + 17, class: "tick", "text-anchor": "middle" }, short(value)));
  }
  svg.append(element("svg:line", { x1: edge.left, x2: width - edge.right, y1: height - edge.bottom, y2: height - edge.bottom, class: "axis" }));
  svg.append(element("svg:text", { x: (edge.left + width - edge.right) / 2, y: height - (spec.mini ? 3 : 8), class: "title", "text-anchor": "middle" }, spec.x.title));
  if (!spec.mini) svg.append(element("svg:text", { transform: `translate(14 ${(edge.top + height - edge.bottom) / 2}) rotate(-90)`, class: "title", "text-anchor": "middle" }, spec.y.title));
}

function series(svg, s, y) {
  const path = s.points.map((p, i) => `${i ? "L" : "M"}${p.px.toFixed(1)} ${p.py.toFixed(1)}`).join("");
  if (s.band) {
    const upper = s.points.map((p, i) => `${i ? "L" : "M"}${p.px.toFixed(1)} ${y.at(p.high).toFixed(1)}`).join("");
    const lower = [...s.points].reverse().map((p) => `L${p.px.toFixed(1)} ${y.at(p.low).toFixed(1)}`).join("");
    svg.append(element("svg:path", { d: `${upper}${lower}Z`, class: "band", style: `fill:${s.style.colour}` }));
  }
  if (s.line) svg.append(element("svg:path", { d: path, class: s.thin ? "line thin" : "line", style: `stroke:${s.style.colour}`, "stroke-dasharray": s.style.dash }));
  if (!s.marks) return;
  for (const p of s.points) {
    if (!s.line && p.low !== undefined) svg.append(element("svg:line", { x1: p.px, x2: p.px, y1: y.at(p.low), y2: y.at(p.high), class: "whisker", style: `stroke:${s.style.colour}` }));
    svg.append(element("svg:path", { d: markerPath(s.style.shape, p.px, p.py, s.line ? 3.2 : 5.5), class: s.hollow ? "mark hollow" : "mark", style: `fill:${s.style.colour};stroke:${s.style.colour}` }));
  }
}

// Names beside their points: each at the nearest free place, with a thin line to its point where that is not beside it.
function names(svg, placed, from, width, bottom) {
  const taken = placed.map((s) => ({ left: s.points[0].px - 6, right: s.points[0].px + 6, y: s.points[0].py, own: s }));
  const order = [...placed].sort((a, b) => a.points[0].py - b.points[0].py);
  for (const s of order) {
    const { px, py } = s.points[0];
    const text = element("svg:text", { class: "name" }, s.name);
    svg.append(text);
    const length = text.getComputedTextLength();
    const free = (left, y) => left > from && left + length < width && y > 6 && y < bottom && !taken.some((b) =>
      b.own !== s && left < b.right + 3 && left + length > b.left - 3 && Math.abs(b.y - y) < 12);
    const steps = [0, ...Array.from({ length: 16 }, (_, k) => (k % 2 ? -1 : 1) * 7 * (1 + (k >> 1)))];
    const places = steps.flatMap((dy) => [[px + 10, py + dy], [px - 10 - length, py + dy]].map(([left, y]) => ({ left, y, dy })));
    const place = places.find(({ left, y }) => free(left, y)) || places[0];
    text.setAttribute("x", place.left);
    text.setAttribute("y", place.y + 4);
    if (Math.abs(place.dy) > 8) {
      const end = place.left > px ? place.left - 2 : place.left + length + 2;
      text.before(element("svg:line", { x1: px, y1: py, x2: end, y2: place.y, class: "leader" }));
    }
    taken.push({ left: place.left, right: place.left + length, y: place.y, own: null });
  }
}

// The front as a staircase: what the best accuracy is at each price.
function stair(points, x, y) {
  const order = [...points].sort((a, b) => a.x - b.x);
  return order.map((p, i) => (i ? `H${x.at(p.x).toFixed(1)}V${y.at(p.y).toFixed(1)}` : `M${x.at(p.x).toFixed(1)} ${y.at(p.y).toFixed(1)}`)).join("");
}

// Nearest point under the pointer; arrow keys go along a line and from one line to the next, Escape closes.
function pointing(svg, tip, spot, placed, width) {
  let line = 0, index = -1;
  const show = () => {
    const p = placed[line].points[index];
    spot.setAttribute("cx", p.px);
    spot.setAttribute("cy", p.py);
    spot.setAttribute("visibility", "visible");
    tip.replaceChildren(element("strong", {}, placed[line].name), ...(p.tip || []).map((text) => element("span", {}, text)));
    tip.hidden = false;
    tip.style.left = `${Math.max(4, Math.min(p.px + 12, width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(0, p.py - tip.offsetHeight - 10)}px`;
  };
  const hide = () => { tip.hidden = true; spot.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    let best = 40 ** 2;
    placed.forEach((s, i) => s.points.forEach((p, j) => {
      const distance = (p.px - (event.clientX - box.left)) ** 2 + (p.py - (event.clientY - box.top)) ** 2;
      if (distance < best) [best, line, index] = [distance, i, j];
    }));
    best < 40 ** 2 ? show() : hide();
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (event.key === "Escape") hide();
    if (!move || !placed.length) return;
    event.preventDefault();
    if (index < 0) index = placed[line].points.length - 1;
    line = (line + move[0] + placed.length) % placed.length;
    index = Math.max(0, Math.min(placed[line].points.length - 1, index + move[1]));
    show();
  });
}
