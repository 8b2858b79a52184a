// Lanes move with the time between two looks at the server: everything to the left, and what runs grows. They hold
// still for who wants to hit a bar.

import { now } from "../times.js";
import { aimedAt } from "./aim.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");

function move() {
  if (document.hidden || calm.matches) return;
  const drawn = document.querySelector(".lanes g[data-at]");
  if (!drawn || aimedAt(drawn.closest(".bars"))) return;
  const passed = Math.min(120, Math.max(0, (now() - Date.parse(drawn.dataset.at)) / 1000));
  for (const group of document.querySelectorAll(".lanes g[data-moves]")) {
    group.setAttribute("transform", `translate(${(-passed * group.dataset.moves).toFixed(2)} 0)`);
  }
  for (const bar of drawn.querySelectorAll("[data-open]")) {
    bar.dataset.width ??= bar.getAttribute("width");
    bar.setAttribute("width", (Number(bar.dataset.width) + passed * drawn.dataset.moves).toFixed(2));
  }
}

setInterval(move, 200);
