// Ctrl K or ⌘ K: go to a queue, an execution or a page, or do something. The server finds; this moves among the finds.

const palette = document.getElementById("palette");
const input = palette?.querySelector("input[name=q]");
const list = document.getElementById("go-list");
let at = 0;
let picked; // what an arrow went to since the last letter: an answer that comes late keeps it
let finding = false; // what is listed is for an earlier text
let chosen = false; // Enter was pressed meanwhile

if (palette) {
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    if (palette.open) palette.close();
    else if (!document.querySelector("dialog[open]")) open();
  });
  if (navigator.platform.startsWith("Mac")) document.querySelector("[data-palette] kbd").textContent = "⌘ K";
  document.querySelector("[data-palette]").addEventListener("click", (event) => {
    event.preventDefault();
    open();
  });
  input.addEventListener("keydown", move);
  input.addEventListener("input", () => {
    finding = true;
    picked = undefined;
  });
  palette.addEventListener("click", (event) => {
    if (event.target === palette || event.target.closest("[role=option]")) palette.close();
  });
  palette.addEventListener("pointermove", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) choose(options().indexOf(option));
  });
  list.addEventListener("htmx:afterSettle", found);
}

function open() {
  input.form.elements.here.value = document.body.dataset.name ?? "";
  input.value = "";
  finding = true;
  chosen = false;
  picked = undefined;
  palette.showModal();
  window.htmx.trigger(input, "find");
}

function found({ detail }) {
  choose(Math.max(0, options().map(means).indexOf(picked)));
  if (detail.requestConfig.parameters.q !== input.value) return; // more was typed meanwhile
  finding = false;
  if (chosen) options()[0]?.click();
  chosen = false;
}

const options = () => [...list.querySelectorAll("[role=option][id]")];
const means = (option) => option.href ?? option.value;

function choose(index) {
  const all = options();
  at = all.length ? (index + all.length) % all.length : 0;
  all.forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
  if (all.length) input.setAttribute("aria-activedescendant", all[at].id);
  else input.removeAttribute("aria-activedescendant");
  all[at]?.scrollIntoView({ block: "nearest" });
}

function pick(index) {
  choose(index);
  picked = options().map(means)[at];
}

function move(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) pick(at + step);
  else if (event.key !== "Enter") return;
  else if (finding && !picked) chosen = true;
  else options()[at]?.click();
  event.preventDefault();
}
