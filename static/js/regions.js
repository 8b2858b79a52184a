// Changing parts of the page without disturbing who is using it.
//
// Cells ([data-cell]) have fixed geometry: they change at once. Regions ([data-live]) may move rows: they are
// replaced only when something but cells and running times differs, and wait while somebody points at them,
// has the focus or a selection in them, or has a dialog open.

import { readable } from "./times.js";

const applied = new WeakMap(); // cell -> the HTML it got, before times.js made times readable
const pending = new Map(); // id of a region -> its next element
const points = matchMedia("(hover: hover)");

export function applyCells(fragments) {
  for (const [id, html] of Object.entries(fragments)) {
    const cell = document.getElementById(id);
    if (cell && !selected(cell)) fill(cell, html);
  }
}

export function applyDocument(page) {
  for (const fresh of page.querySelectorAll("[data-cell][id]")) {
    const cell = document.getElementById(fresh.id);
    if (cell && !selected(cell)) fill(cell, fresh.innerHTML);
  }
  for (const fresh of page.querySelectorAll("[data-live][id]")) offer(fresh);
}

function fill(cell, html) {
  if (applied.get(cell) === html || cell.innerHTML === html) return;
  cell.innerHTML = html;
  applied.set(cell, html);
  readable(cell);
}

function offer(fresh) {
  const region = document.getElementById(fresh.id);
  if (!region) return;
  if (shape(region) === shape(fresh)) pending.delete(fresh.id);
  else if (held(region)) pending.set(fresh.id, fresh);
  else replace(region, fresh);
}

function replace(region, fresh) {
  pending.delete(fresh.id);
  const next = document.importNode(fresh, true);
  keepOpen(region, next);
  region.replaceWith(next);
  readable(next);
  window.htmx?.process(next);
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

function held(region) {
  if (document.querySelector("dialog[open]")) return true;
  if (region.contains(document.activeElement) || selected(region)) return true;
  return "hold" in region.dataset && points.matches && region.matches(":hover");
}

function selected(element) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(element);
}

setInterval(() => {
  for (const [id, fresh] of pending) {
    const region = document.getElementById(id);
    if (!region) pending.delete(id);
    else if (!held(region)) replace(region, fresh);
  }
}, 400);
