// Charts: one crosshair through all of them, by pointer or slider, and zoom by dragging or by Shift, arrows and Enter.
// The server draws; here only the crosshair, the selection and the words beside the lines change.

import { now, timeZone } from "../times.js";

const parsed = new WeakMap();
let drag = null; // { charts, from } in points
let kept = null; // where the keyboard selection begins

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone });
const exact = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", timeZone });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone });

function dataOf(charts) {
  if (!parsed.has(charts)) parsed.set(charts, JSON.parse(charts.dataset.points));
  return parsed.get(charts);
}

const count = (data) => data.columns.running.length;

// -- the crosshair ---------------------------------------------------------------------------------

function show(charts, index) {
  const data = dataOf(charts);
  const x = `${(100 * (index + 0.5)) / count(data)}%`;
  for (const cross of charts.querySelectorAll(".cross")) {
    cross.setAttribute("x1", x);
    cross.setAttribute("x2", x);
    cross.setAttribute("visibility", "visible");
  }
  for (const place of charts.querySelectorAll("[data-value]")) {
    place.dataset.rest ??= place.textContent;
    place.textContent = value(data, place.dataset.value, index);
  }
  say(charts, moment(data, index));
  const slider = charts.parentElement.querySelector("input[type=range]");
  slider.value = index;
  slider.setAttribute("aria-valuetext", inWords(charts, data, index));
}

function hide(charts) {
  for (const cross of charts.querySelectorAll(".cross")) cross.setAttribute("visibility", "hidden");
  for (const place of charts.querySelectorAll("[data-value]")) place.textContent = place.dataset.rest ?? place.textContent;
  say(charts, null);
}

function say(charts, text) {
  const place = charts.parentElement.querySelector(".moment");
  place.hold ??= [...place.childNodes];
  place.replaceChildren(...(text === null ? place.hold : [text]));
}

function value(data, key, index) {
  if (key === "limit") return limitAt(data, data.since + (index + 1) * data.step);
  const found = data.columns[key][index];
  if (found === null) return "–";
  if (key === "bound") return found ? "yes" : "no";
  return key.includes("_") ? seconds(found) : number(found);
}

function limitAt(data, at) {
  const step = data.limits.findLast(([from]) => from < at);
  if (!step) return "–";
  return step[1] === null ? "unlimited" : String(step[1]);
}

function moment(data, index) {
  const from = new Date((data.since + index * data.step) * 1000);
  const to = new Date((data.since + (index + 1) * data.step) * 1000);
  const date = day.format(from) === day.format(new Date(now())) ? "" : `${day.format(from)} `;
  const words = data.step < 60 ? exact : clock;
  return `${date}${words.format(from)} – ${words.format(to)}`;
}

function inWords(charts, data, index) {
  const said = [...charts.querySelectorAll("figure")].map((chart) => {
    const values = [...chart.querySelectorAll(".key")].map((key) => key.textContent.trim());
    return `${chart.querySelector("figcaption b").textContent}: ${values.join(", ")}`;
  });
  return `${moment(data, index)}. ${said.join(". ")}`;
}

function number(value) {
  if (value >= 10000) return `${Math.round(value / 1000)}k`;
  return value >= 10 || Number.isInteger(value) ? String(Math.round(value)) : value.toFixed(1);
}

// queues/words.py says durations the same way.
function seconds(value) {
  if (value < 0.05) return `${Math.round(1000 * value)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.floor(value)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min${value < 600 && value % 60 >= 1 ? ` ${Math.floor(value % 60)} s` : ""}`;
  if (value < 86400) return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`;
  return `${Math.floor(value / 86400)} d ${Math.floor((value % 86400) / 3600)} h`;
}

// -- a selection -----------------------------------------------------------------------------------

function select(charts, from, to) {
  const points = count(dataOf(charts));
  const [first, last] = [Math.min(from, to), Math.max(from, to) + 1];
  for (const box of charts.querySelectorAll(".selection")) {
    box.setAttribute("x", `${(100 * first) / points}%`);
    box.setAttribute("width", `${(100 * (last - first)) / points}%`);
  }
}

function unselect(charts) {
  for (const box of charts.querySelectorAll(".selection")) box.setAttribute("width", "0");
}

function zoom(charts, from, to) {
  const data = dataOf(charts);
  const iso = (index) => new Date((data.since + index * data.step) * 1000).toISOString().replace(".000", "");
  const section = charts.closest("#history");
  const query = new URLSearchParams(section.dataset.rest);
  query.set("from", iso(Math.min(from, to)));
  query.set("to", iso(Math.max(from, to) + 1));
  window.htmx.ajax("GET", `${section.dataset.charts}?${query}`, { target: "#history", swap: "outerHTML" });
}

// -- pointer ---------------------------------------------------------------------------------------

function pointAt(plot, event) {
  const charts = plot.closest(".charts");
  const box = plot.getBoundingClientRect();
  const last = count(dataOf(charts)) - 1;
  return Math.max(0, Math.min(last, Math.floor(((event.clientX - box.left) / box.width) * (last + 1))));
}

document.addEventListener("pointermove", (event) => {
  const plot = drag?.plot ?? event.target.closest?.(".plot");
  const charts = plot?.closest(".charts");
  for (const other of document.querySelectorAll(".charts")) {
    if (other !== charts && "pointed" in other.dataset) {
      delete other.dataset.pointed;
      hide(other);
    }
  }
  if (!charts) return;
  charts.dataset.pointed = "";
  const at = pointAt(plot, event);
  show(charts, at);
  if (drag && at !== drag.from) drag.moved = true;
  if (drag?.moved) select(charts, drag.from, at);
});

document.addEventListener("pointerdown", (event) => {
  const plot = event.target.closest?.(".plot");
  if (!plot || event.button !== 0) return;
  drag = { plot, from: pointAt(plot, event), moved: false };
  plot.dataset.dragging = "";
  if (event.pointerType === "mouse") event.preventDefault(); // selects no text
});

document.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const { plot, from, moved } = drag;
  drag = null;
  delete plot.dataset.dragging;
  if (moved) zoom(plot.closest(".charts"), from, pointAt(plot, event));
});

for (const kind of ["pointercancel", "blur"]) addEventListener(kind, stop);

function stop() {
  if (!drag) return;
  unselect(drag.plot.closest(".charts"));
  delete drag.plot.dataset.dragging;
  drag = null;
}

// -- keyboard --------------------------------------------------------------------------------------

const chartsOf = (slider) => slider.closest("#history").querySelector(".charts");

document.addEventListener("input", (event) => {
  if (event.target.id !== "scrub") return;
  const charts = chartsOf(event.target);
  show(charts, Number(event.target.value));
  if (kept === null) unselect(charts);
  else select(charts, kept, Number(event.target.value));
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.target.id !== "scrub") return;
  const charts = chartsOf(event.target);
  const at = Number(event.target.value);
  if (event.key === "Enter" && kept !== null) zoom(charts, kept, at);
  if (event.key === "Escape") unselect(charts);
  if (event.key === "Enter" || event.key === "Escape") kept = null;
  else if (event.shiftKey && event.key.startsWith("Arrow")) kept ??= at;
  else if (event.key.startsWith("Arrow")) kept = null;
});

document.addEventListener("focusout", (event) => {
  if (event.target.id !== "scrub") return;
  kept = null;
  unselect(chartsOf(event.target));
  hide(chartsOf(event.target));
});

// -- times of day in the reader's zone ---------------------------------------------------------------

function prepare() {
  for (const slider of document.querySelectorAll("#scrub[disabled]")) {
    slider.disabled = false;
    const data = dataOf(chartsOf(slider));
    const long = data.step * count(data) > 2 * 86400;
    for (const text of slider.closest("#history").querySelectorAll("text[data-at]")) {
      text.textContent = (long ? day : clock).format(new Date(text.dataset.at * 1000));
    }
    slider.setAttribute("aria-valuetext", inWords(chartsOf(slider), data, count(data) - 1));
  }
}

prepare();
// The section is replaced by htmx and by regions.js alike.
new MutationObserver(prepare).observe(document.getElementById("main"), { childList: true, subtree: true });
