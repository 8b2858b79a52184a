// The log goes on while the page is open: new lines are added at its end, which stays in sight for whoever is there.

import { applyDocument } from "../regions.js";
import { readable } from "../times.js";

const EVERY = 1000;
const MOST = 2000; // lines on the page
const NEAR = 30; // pixels from the end

const card = document.getElementById("log");
const lines = document.getElementById("lines");
const level = document.getElementById("log-level");
let busy = false;
let again = false; // something else changed on the page: it may have been begun again

lines.scrollTop = lines.scrollHeight;
setInterval(() => (lines.dataset.state === "open" || again) && look(), EVERY);
document.addEventListener("polos:rows", () => (again = true));

level.addEventListener("change", () => {
  lines.dataset.level = level.value;
  lines.scrollTop = lines.scrollHeight;
});

async function look() {
  if (busy || document.hidden) return;
  busy = true;
  again = false;
  try {
    const { src, after, told } = lines.dataset;
    const attempt = lines.querySelector(".line:last-child")?.dataset.attempt ?? 1;
    const reply = await fetch(`${src}?${new URLSearchParams({ after, told, attempt })}`, { headers: { "Polos-Refresh": "follows" } });
    if (reply.ok && !reply.redirected) await show(reply);
  } catch {
    // The page itself, in live.js, says what is wrong.
  }
  busy = false;
}

async function show(reply) {
  const nothing = reply.status === 204;
  if (!nothing) add(new DOMParser().parseFromString(await reply.text(), "text/html"));
  // Lines may have come with the end: it is over when there was nothing more after it.
  if (nothing) lines.dataset.state = reply.headers.get("Polos-State");
  card.hidden = lines.dataset.state === "final" && !lines.childElementCount;
}

function add(page) {
  const fresh = page.getElementById("new-lines");
  const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < NEAR;
  const added = document.importNode(fresh, true);
  readable(added);
  lines.append(...added.children);
  while (lines.childElementCount > MOST) lines.firstElementChild.remove();
  lines.dataset.after = fresh.dataset.after;
  lines.dataset.told = fresh.dataset.told;
  document.getElementById("log-none").hidden = lines.childElementCount > 0;
  if (atEnd && !selecting()) lines.scrollTop = lines.scrollHeight;
  applyDocument(page, true);
}

function selecting() {
  const selection = getSelection();
  return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(lines);
}
