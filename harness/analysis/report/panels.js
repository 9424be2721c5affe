// The page's figures: which data goes into which chart, and the controls beside them. Draws through chart.js alone.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const STYLES = DATA.rows.map((row) => {
  const here = DATA.rows.filter((other) => other.dataset === row.dataset && other.control === row.control);
  return styleOf(here.indexOf(row), row.control);
});
const hidden = new Set();  // names of rows that a legend has switched off, in every figure
const painters = [];

const field = (id) => document.getElementById(id);
const repaint = () => painters.forEach((paint) => paint());
const rowsHere = () => DATA.rows.map((row, i) => ({ row, i })).filter(({ row }) => row.dataset === chosenDataset());

function chosenDataset() {
  const select = field("dataset");
  return select ? select.value : DATA.datasets[0];
}

function options(select, items) {
  if (select) select.replaceChildren(...items.map(([value, text]) => element("option", { value }, text)));
}

function swatch(style, line) {
  const svg = element("svg:svg", { width: 26, height: 14, "aria-hidden": "true" });
  if (line) svg.append(element("svg:path", { d: "M1 7H25", class: "line", style: `stroke:${style.colour}`, "stroke-dasharray": style.dash }));
  svg.append(element("svg:path", { d: markerPath(style.shape, 13, 7, 4), style: `fill:${style.colour}` }));
  return svg;
}

function legend(host) {
  host.replaceChildren(...rowsHere().map(({ row, i }) => {
    const button = element("button", { type: "button", "aria-pressed": String(!hidden.has(row.name)) }, swatch(STYLES[i], true), row.name);
    if (row.collapsed) button.append(element("span", { class: "mark-collapsed" }, " collapsed"));
    button.addEventListener("click", () => {
      hidden.has(row.name) ? hidden.delete(row.name) : hidden.add(row.name);
      repaint();
      [...host.children].find((b) => b.textContent === button.textContent)?.focus();
    });
    return button;
  }));
}

const visible = () => rowsHere().filter(({ row }) => !hidden.has(row.name));
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const said = (value) => (value === null || value === undefined ? "not recorded" : short(value));
const UNIT = { epoch: "epochs", views: "views", seconds: "seconds of training" };

function curveLine(row, i, name, axis) {
  const curve = row.curve[name];
  const points = curve[axis].map((x, k) => {
    const own = curve.values.map((run) => run[k]);
    if (x === null || own.some((v) => v === null)) return { x: null, y: null };
    const seeds = own.length > 1 ? own.map((v, s) => `seed ${curve.seeds[s]}: ${short(v)}`) : [];
    const place = `epoch ${curve.epoch[k]}, ${short(curve.views[k])} views` + (curve.seconds[k] === null ? "" : `, ${short(curve.seconds[k])} s`);
    return { x, y: mean(own), low: Math.min(...own), high: Math.max(...own), tip: [`${short(mean(own))}`, place, ...seeds] };
  });
  return { name: row.name, style: STYLES[i], points, line: true, band: curve.values.length > 1, marks: points.length <= 30 };
}

function paintCurves() {
  const name = field("curve-measure").value, axis = field("curve-axis").value;
  const title = DATA.curves.find((c) => c.name === name)?.title || "";
  const lines = visible().filter(({ row }) => row.curve[name]).map(({ row, i }) => curveLine(row, i, name, axis));
  const rules = visible().filter(({ row }) => !row.curve[name] && row.metric[name])
    .map(({ row, i }) => ({ y: row.metric[name][0], name: row.name, style: STYLES[i] }));
  const machines = new Set(visible().flatMap(({ row }) => row.hardware));
  const untimed = axis === "seconds" && lines.some((line) => line.points.every((p) => p.x === null));
  field("curve-note").textContent = untimed ? "Rows without recorded seconds are left out: their runs did not store them."
    : axis === "seconds" && machines.size > 1 ? `These seconds were taken on ${machines.size} different machines and do not compare: ${[...machines].join("; ")}.`
    : axis === "seconds" ? `Seconds on ${[...machines].join("; ")}.` : "";
  draw(field("curve-chart"), {
    label: `${title} over ${UNIT[axis]}, a line for each of ${lines.length} rows. Arrow keys read the values; the same numbers are in the table below.`,
    x: { title: UNIT[axis] }, y: { title, log: name.startsWith("slice_condition") }, series: lines, rules,
  });
  legend(field("curve-legend"));
}

function paintFrontier() {
  const cost = DATA.costs.find((c) => c.name === field("cost-axis").value);
  const metric = DATA.metrics.find((m) => m.name === field("cost-metric").value);
  const machine = field("cost-hardware");
  const sameMachine = (row) => !cost.hardware || (row.hardware.length === 1 && row.hardware[0] === machine.value);
  machine.closest("label").hidden = !cost.hardware;
  const here = visible().filter(({ row }) => row.metric[metric.name] && sameMachine(row));
  const point = (row, i) => ({
    x: row.cost[cost.name], y: row.metric[metric.name][0], low: row.metric[metric.name][1], high: row.metric[metric.name][2], i,
    tip: [`${metric.title} ${short(row.metric[metric.name][0])}`, `${cost.title}: ${said(row.cost[cost.name])}`],
  });
  const front = DATA.fronts[chosenDataset()][cost.name][metric.name];
  const paid = here.filter(({ row }) => row.cost[cost.name]);
  const series = paid.map(({ row, i }) => ({ name: row.name, style: STYLES[i], points: [point(row, i)], marks: true, named: true, hollow: row.control }));
  const free = here.filter(({ row }) => row.control && !row.cost[cost.name]);
  field("cost-note").textContent = [
    cost.hardware ? `Only rows measured on ${machine.value || "no machine"} are compared.` : "",
    free.length ? "Rows that train nothing stand as dashed lines: they cost nothing, and have no place on a logarithmic axis." : "",
  ].join(" ");
  draw(field("cost-chart"), {
    label: `${metric.title} against ${cost.title}, a point for each of ${series.length} rows; on the front: ${front.map((i) => DATA.rows[i].name).join(", ") || "none"}.`,
    x: { title: `${cost.title}, logarithmic`, log: true }, y: { title: metric.title }, series,
    rules: free.map(({ row, i }) => ({ y: row.metric[metric.name][0], name: row.name, style: STYLES[i] })),
    path: paid.filter(({ i }) => front.includes(i)).map(({ row, i }) => point(row, i)),
  });
}

function paintGeometry() {
  const series = visible().filter(({ row }) => row.geometry.every((v) => v !== null)).map(({ row, i }) => ({
    name: row.name, style: STYLES[i], marks: true, named: true, hollow: row.control,
    points: [{ x: row.geometry[0], y: row.geometry[1], tip: [`alignment ${short(row.geometry[0])}`, `uniformity ${short(row.geometry[1])}`] }],
  }));
  draw(field("geometry-chart"), {
    label: `Uniformity against alignment of the encoder output, a point for each of ${series.length} rows; both are better when smaller.`,
    x: { title: "alignment (smaller: views of an image lie closer)" }, y: { title: "uniformity (smaller: images spread better)" }, series,
  });
}

// One panel a row: its spectrum over those of the others, and its slices' condition numbers.
function paintPanels() {
  for (const host of document.querySelectorAll("[data-spectrum]")) {
    const i = +host.dataset.spectrum, row = DATA.rows[i];
    const styles = { h: { colour: "var(--c0)", dash: "", shape: "circle" }, v: { colour: "var(--c1)", dash: "6 3", shape: "square" } };
    const order = ["initial_h", "initial_v", "h", "v"].filter((name) => row.spectrum[name]);  // those at step 0 below
    const lines = order.map((name) => [name, name.at(-1), row.spectrum[name]]).map(([name, space, values]) => ({
      name: (space === "h" ? "encoder output h" : "head output v") + (name === space ? "" : " at step 0"),
      style: styles[space], line: true, thin: name !== space,
      points: values.map((y, k) => ({ x: k + 1, y: Math.max(y, 1e-8), tip: [`eigenvalue ${k + 1}: ${short(y)} of the largest`] })),
    }));
    draw(host, { mini: true, height: 150, label: `Eigenvalue spectrum of ${row.name}, logarithmic, relative to the largest.`,
      x: { title: "rank of the eigenvalue" }, y: { title: "", log: true }, series: lines });
  }
  for (const host of document.querySelectorAll("[data-condition]")) {
    const i = +host.dataset.condition, row = DATA.rows[i];
    const names = ["slice_condition_max", "slice_condition_median"].filter((name) => row.curve[name]);
    const lines = names.map((name, k) => ({ ...curveLine(row, i, name, "epoch"), name: name.replaceAll("_", " "), band: false, marks: false,
      style: { colour: `var(--c${k})`, dash: k ? "6 3" : "", shape: "circle" } }));
    draw(host, { mini: true, height: 120, label: `Condition numbers of the slices of ${row.name} over training.`, x: { title: "epochs" }, y: { title: "", log: true }, series: lines });
  }
}

function paintCloud(host, row, only) {
  const { xy, labels } = row.sample;
  const names = DATA.classes[row.dataset] || [];
  const svg = element("svg:svg", { viewBox: "-20 -20 1040 1040", role: "img", class: "cloud",
    "aria-label": `Test images of ${row.name} in the plane, seed ${row.sample.seed}, each shown as the number of its class.` });
  labels.forEach((label, k) => {
    const faded = only !== null && only !== label;
    svg.append(element("svg:text", { x: xy[2 * k], y: xy[2 * k + 1], class: faded ? "faded" : "", style: `fill:var(--c${label % COLOURS})` },
      String(label), element("svg:title", {}, `class ${label}${names[label] ? `, ${names[label]}` : ""}`)));
  });
  host.replaceChildren(svg);
}

let onlyClass = null;

function paintProjection() {
  const select = field("projection-row");
  if (!select) return;
  const shown = rowsHere().filter(({ row, i }) => row.sample && i !== DATA.controls[row.dataset]);
  const before = select.value;
  options(select, shown.map(({ row, i }) => [i, row.name]));
  if (shown.some(({ i }) => String(i) === before)) select.value = before;
  const control = DATA.controls[chosenDataset()];
  const pair = [["projection-own", select.value === "" ? null : +select.value], ["projection-control", control]];
  for (const [id, i] of pair) {
    const none = i === null || i === undefined;
    field(`${id}-name`).textContent = none ? "" : `${DATA.rows[i].name}, seed ${DATA.rows[i].sample.seed}`;
    none ? field(id).replaceChildren(element("p", { class: "quiet" }, "no sample of embeddings was recorded")) : paintCloud(field(id), DATA.rows[i], onlyClass);
  }
  const labels = [...new Set(rowsHere().flatMap(({ row }) => row.sample?.labels || []))].sort((a, b) => a - b);
  const names = DATA.classes[chosenDataset()] || [];
  field("projection-legend").replaceChildren(...labels.map((label) => {
    const button = element("button", { type: "button", "aria-pressed": String(onlyClass === label) },
      element("b", { style: `color:var(--c${label % COLOURS})` }, String(label)), names[label] && names[label] !== String(label) ? ` ${names[label]}` : "");
    button.addEventListener("click", () => {
      onlyClass = onlyClass === label ? null : label;
      paintProjection();
      [...field("projection-legend").children][labels.indexOf(label)].focus();
    });
    return button;
  }));
}

function startPanels() {
  options(field("dataset"), DATA.datasets.map((name) => [name, name]));
  options(field("curve-measure"), DATA.curves.map((c) => [c.name, c.title]));
  options(field("cost-axis"), DATA.costs.filter((c) => c.recorded).map((c) => [c.name, c.title]));
  options(field("cost-metric"), DATA.metrics.map((m) => [m.name, m.title]));
  options(field("cost-hardware"), [...new Set(DATA.rows.flatMap((row) => row.hardware))].map((name) => [name, name]));
  if (DATA.curves.length) painters.push(paintCurves);
  if (DATA.costs.some((c) => c.recorded) && DATA.metrics.length) painters.push(paintFrontier);
  if (DATA.metrics.length) painters.push(paintGeometry);
  painters.push(paintProjection);
  for (const select of document.querySelectorAll("[data-redraws]")) select.addEventListener("change", repaint);
  field("projection-row")?.addEventListener("change", paintProjection);
  repaint();
  paintPanels();
  let width = document.body.clientWidth;
  new ResizeObserver(() => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    repaint();
    paintPanels();
  }).observe(document.body);
}

startPanels();
