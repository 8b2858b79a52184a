// "/" goes to the filter; "g" and then "q", "e" or "w" goes to queues, executions or workers.

const PLACES = { q: "/", e: "/executions", w: "/workers" };
let went = 0; // when "g" was pressed

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "g") went = event.timeStamp;
  else if (event.key in PLACES && event.timeStamp - went < 1200) location.assign(PLACES[event.key]);
  else if (event.key === "/") focusFilter(event);
  else document.querySelector(`[data-shortcut="${CSS.escape(event.key)}"]:not([hidden])`)?.click();
});

function isTyping(target) {
  return target.matches?.("input, textarea, select, [contenteditable]");
}

function focusFilter(event) {
  const filter = document.querySelector('[data-key="/"]');
  if (!filter) return;
  event.preventDefault();
  filter.focus();
  filter.select();
}
