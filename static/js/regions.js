// Changing parts of the page without disturbing who is using it.
//
// Cells ([data-cell]) have fixed geometry: they change at once. Regions ([data-live]) may move rows: they are
// replaced only when something but cells and running times differs, and wait while somebody points at them, touched
// them just now, has the focus, a selection or ticked rows in them, or has a dialog open. After an action of one's own
// they do not wait for pointer and focus: one wants to see what one did, and the focus is put back.

import { readable } from "./times.js";

const applied = new WeakMap(); // cell -> the HTML it got, before times.js made times readable
const pending = new Map(); // id of a region -> its next element
const pushed = new Map(); // id of a cell -> its HTML by the last frame: newer than any document fetched meanwhile
const passedOver = new Set(); // ids of cells that were selected when their news came
const points = matchMedia("(hover: hover)");
const TOUCHED = 4000; // so long after a touch somebody may still be aiming
let touched = { at: -TOUCHED, on: null };
let waiting = 0; // changes, as last said

export function applyCells(fragments) {
  for (const [id, html] of Object.entries(fragments)) {
    pushed.set(id, html);
    fillById(id, html);
  }
}

// Without frames the documents that the page fetches are the newest there is.
export function forgetCells() {
  pushed.clear();
}

// Of rows that are not shown no frames come: what was pushed about them grows old.
export function forgetOtherRows(ids) {
  const kept = new Set(ids.map((id) => `q-${id}`));
  for (const id of pushed.keys()) if (/^q-/.test(id) && !kept.has(id.match(/^q-\d+/)[0])) pushed.delete(id);
}

export function applyDocument(page, afterOwnAction) {
  for (const fresh of page.querySelectorAll("[data-cell][id]")) {
    fillById(fresh.id, pushed.get(fresh.id) ?? fresh.innerHTML);
  }
  for (const fresh of page.querySelectorAll("[data-live][id]")) offer(fresh, afterOwnAction);
}

function fillById(id, html) {
  const cell = document.getElementById(id);
  passedOver.delete(id);
  if (!cell) return;
  if (selected(cell)) passedOver.add(id);
  else fill(cell, html);
}

function fill(cell, html) {
  if (applied.get(cell) === html || cell.innerHTML === html) return;
  cell.innerHTML = html;
  applied.set(cell, html);
  readable(cell);
}

function offer(fresh, afterOwnAction) {
  const region = document.getElementById(fresh.id);
  if (!region) return;
  if (shape(region) === shape(fresh)) pending.delete(fresh.id);
  else if (busy(region) || (!afterOwnAction && attended(region))) pending.set(fresh.id, fresh);
  else replace(region, fresh);
  sayHowManyWait();
}

// What waits was of another search, or of another fold.
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (!("live" in detail.target.dataset)) return;
  pending.clear();
  sayHowManyWait();
});

// For who does not want to move away to see them.
export function applyWaiting() {
  for (const [id, fresh] of pending) {
    const region = document.getElementById(id);
    if (region) replace(region, fresh);
  }
  pending.clear();
  sayHowManyWait();
}

function sayHowManyWait() {
  let count = 0;
  for (const [id, fresh] of pending) {
    const region = document.getElementById(id);
    if (region) count += changes(rows(region), rows(fresh));
  }
  if (count === waiting) return;
  waiting = count;
  document.dispatchEvent(new CustomEvent("polos:held", { detail: count }));
}

const rows = (region) => new Map(Array.from(region.querySelectorAll("tr[id]"), (row) => [row.id, shape(row)]));

// Rows that would come, go, look different or stand elsewhere.
function changes(before, after) {
  if (!before.size && !after.size) return 0; // a picture
  const gone = [...before.keys()].filter((id) => !after.has(id));
  const come = [...after.keys()].filter((id) => !before.has(id));
  const stay = [...after.keys()].filter((id) => before.has(id));
  const order = [...before.keys()];
  const unlike = stay.filter((id) => before.get(id) !== after.get(id));
  const moved = stay.length - longestRise(stay.map((id) => order.indexOf(id)));
  return Math.max(1, gone.length + come.length + unlike.length + moved);
}

// How many can stay where they are: the length of the longest increasing subsequence.
function longestRise(numbers) {
  const ends = [];
  for (const number of numbers) {
    const at = ends.findIndex((end) => end >= number);
    ends[at < 0 ? ends.length : at] = number;
  }
  return ends.length;
}

function replace(region, fresh) {
  pending.delete(fresh.id);
  const next = document.importNode(fresh, true);
  for (const cell of next.querySelectorAll("[data-cell][id]")) {
    if (pushed.has(cell.id)) cell.innerHTML = pushed.get(cell.id);
  }
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  keepOpen(region, next);
  for (const box of region.querySelectorAll("input:checked")) {
    const same = box.id && next.querySelector(`#${CSS.escape(box.id)}`);
    if (same) same.checked = true;
  }
  region.replaceWith(next);
  if (focused) focusAgain(focused, next);
  readable(next);
  window.htmx?.process(next);
  document.dispatchEvent(new CustomEvent("polos:rows"));
}

// What counts as a difference: not what cells hold, not how long ago, not what is unfolded.
function shape(region) {
  const copy = region.cloneNode(true);
  for (const part of copy.querySelectorAll("[data-cell], time")) part.textContent = "";
  for (const part of copy.querySelectorAll("time")) part.removeAttribute("title");
  for (const part of copy.querySelectorAll("details")) part.open = false;
  return copy.innerHTML;
}

function keepOpen(region, next) {
  const before = region.querySelectorAll("details");
  const after = next.querySelectorAll("details");
  if (before.length === after.length) before.forEach((part, i) => (after[i].open = part.open));
}

function focusAgain(before, next) {
  const same = [...next.querySelectorAll("a, button, summary, input")].find(
    (part) =>
      part.tagName === before.tagName && part.id === before.id && part.getAttribute("href") === before.getAttribute("href"),
  );
  const goal = same ?? next;
  if (goal === next) next.tabIndex = -1;
  goal.focus({ preventScroll: true });
}

function busy(region) {
  const at = document.activeElement;
  const typing = region.contains(at) && at.matches("input:not([type=checkbox]), select, textarea");
  return typing || selected(region) || region.querySelector("input:checked") || document.querySelector("dialog[open]");
}

function attended(region) {
  if (region.contains(document.activeElement)) return true;
  if (region.contains(touched.on) && performance.now() - touched.at < TOUCHED) return true;
  return "hold" in region.dataset && points.matches && region.matches(":hover");
}

function selected(element) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(element);
}

document.addEventListener("pointerdown", (event) => {
  if (event.pointerType === "touch") touched = { at: event.timeStamp, on: event.target };
});

setInterval(() => {
  for (const id of [...passedOver]) if (pushed.has(id)) fillById(id, pushed.get(id));
  for (const [id, fresh] of pending) {
    const region = document.getElementById(id);
    if (!region) pending.delete(id);
    else if (!busy(region) && !attended(region)) replace(region, fresh);
  }
  if (waiting) sayHowManyWait();
}, 400);
