// Parts of a page that are fetched again on their own, slower or faster than the rest: [data-src][data-every].
// Not while somebody aims at them: that would be asked for in vain.

import { applyDocument } from "../regions.js";
import { aimedAt } from "./aim.js";

const asked = new Map(); // URL -> when it was last fetched

async function look() {
  if (document.hidden) return;
  for (const panel of document.querySelectorAll("[data-src][data-every]")) {
    const src = panel.dataset.src;
    if (!asked.has(src)) asked.set(src, Date.now());
    if (Date.now() - asked.get(src) < panel.dataset.every * 1000 || held(panel)) continue;
    asked.set(src, Date.now());
    await fetchAgain(panel.id, src);
  }
}

const held = (panel) => aimedAt(panel) || panel.querySelector("input:focus, [data-dragging]") !== null;

async function fetchAgain(id, src) {
  try {
    const reply = await fetch(src, { headers: { "HX-Request": "true", "Polos-Refresh": "1" } });
    if (!reply.ok || reply.headers.get("HX-Redirect")) return; // the page itself, in live.js, says what is wrong
    const page = new DOMParser().parseFromString(await reply.text(), "text/html");
    // Somebody may have gone to another time meanwhile.
    if (document.getElementById(id)?.dataset.src === src) applyDocument(page, true);
  } catch {
    // The next one may come through.
  }
}

setInterval(look, 500);
