// Single keys. They do what a link or button on the page does, so they can do nothing that it could not.
// The sheet on "?" lists them (templates/parts/keys.html), and turns them off for those who speak to their computer.

const PLACES = { q: "/", e: "/executions", s: "/schedules", w: "/workers", t: "/trail", p: "/people", h: "/help" };
const OF_A_ROW = { p: 'a[href^="/pauses"], a[href^="/schedules/"][href$="/pause"]', l: 'a[href^="/limits/"]', f: ".star", x: "input[type=checkbox]" };
const OFF = "single-keys";
let went = -Infinity; // when "g" was pressed

document.addEventListener("keydown", (event) => {
  const { key } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat && key !== "j" && key !== "k") return;
  if (localStorage.getItem(OFF) || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  // Where the header leads: who may not manage people has no such link.
  if (key in PLACES && event.timeStamp - went < 1200) return document.querySelector(`.places [href="${PLACES[key]}"]`)?.click();
  went = key === "g" ? event.timeStamp : -Infinity;
  if (key === "/") focusFilter(event);
  else if (key === "?") window.htmx.ajax("GET", "/shortcuts", { target: "#dialog-body", swap: "innerHTML" });
  else if (key === "j" || key === "k") focusRow(key === "j" ? 1 : -1);
  else press(key);
});

function isTyping(target) {
  return target.matches?.("input:not([type=checkbox]), textarea, select, [contenteditable]");
}

function focusFilter(event) {
  const filter = document.querySelector('[data-key="/"]');
  if (!filter) return;
  event.preventDefault();
  filter.focus();
  filter.select();
}

// Rows are reached by their first link.
function focusRow(step) {
  const rows = [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a"));
  const here = rows.indexOf(document.activeElement.closest("tr") ?? document.querySelector("main tbody tr:hover"));
  const row = rows[here < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, here + step))];
  row?.querySelector("a").focus();
  row?.scrollIntoView({ block: "nearest" });
}

function press(key) {
  const button = document.querySelector(`[data-shortcut="${CSS.escape(key)}"]:not([hidden], [hidden] *)`);
  if (button) return button.click();
  if (!(key in OF_A_ROW)) return;
  const row = document.activeElement.closest("tr") ?? document.querySelector("main tbody tr:hover");
  const scope = row ?? (document.querySelector("table.queues") ? null : document.querySelector("main"));
  scope?.querySelector(OF_A_ROW[key])?.click();
}

document.addEventListener("change", ({ target }) => {
  if (target.id !== OFF) return;
  if (target.checked) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "off");
});

function showSetting() {
  const box = document.getElementById(OFF);
  if (box) box.checked = !localStorage.getItem(OFF);
}

document.addEventListener("htmx:afterSettle", showSetting);
showSetting();
