// Sorts and filters the table of rows, draws the charts, and switches between light and dark. Without it the tables stand.
"use strict";

function sortBy(table, column) {
  const head = table.tHead.rows[table.tHead.rows.length - 1].cells;
  const descending = head[column].getAttribute("aria-sort") === "descending";
  const first = head[column].dataset.first || "ascending";
  const order = head[column].hasAttribute("aria-sort") ? (descending ? "ascending" : "descending") : first;
  for (const cell of head) cell.removeAttribute("aria-sort");
  head[column].setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  const compare = (a, b) => {
    const [p, q] = [key(a), key(b)];
    if (p === "" || q === "") return (p === "") - (q === "");  // what has no value stays below either way
    const [m, n] = [Number(p), Number(q)];
    return sign * (Number.isNaN(m) || Number.isNaN(n) ? p.localeCompare(q, "en", { numeric: true }) : m - n);
  };
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
}

function filterTable(form) {
  const table = document.getElementById(form.getAttribute("data-table"))  // a control named `dataset` hides form.dataset;
  const text = form.elements.text.value.trim().toLowerCase();
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const chosen = ["method", "dataset"].every((name) => !form.elements[name]?.value || row.dataset[name] === form.elements[name].value);
    row.hidden = !(chosen && row.textContent.toLowerCase().includes(text));
    shown += !row.hidden;
  }
  form.querySelector("output").textContent = `${shown} of ${table.tBodies[0].rows.length} rows`;
}

for (const table of document.querySelectorAll("table.sortable"))
  table.querySelectorAll("thead button").forEach((button) =>
    button.addEventListener("click", () => sortBy(table, button.closest("th").cellIndex)));

for (const form of document.querySelectorAll("form.filter")) {
  for (const name of ["input", "change"]) form.addEventListener(name, () => filterTable(form));
  form.addEventListener("submit", (event) => event.preventDefault());
  filterTable(form);
}

// The interpreter of Vega's expressions (`ast`) does without eval, which the page's policy forbids.
for (const host of document.querySelectorAll(".chart"))
  vegaEmbed(host, JSON.parse(host.nextElementSibling.textContent), {
    renderer: "svg", ast: true, actions: { export: true, source: false, compiled: false, editor: false },
  });

const themeButton = document.getElementById("theme");
const dark = () => (document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const sayTheme = () => { themeButton.textContent = dark() ? "Light" : "Dark"; };
themeButton.addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  sayTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", sayTheme);
sayTheme();
