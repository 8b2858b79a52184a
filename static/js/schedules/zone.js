// A new schedule is meant in the time zone in which the reader reads times, unless one is chosen.
import { timeZone } from "../times.js";

const own = timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;

function fill() {
  const field = document.querySelector("[data-own-zone]");
  if (field && !field.value && own) field.value = own;
}

document.addEventListener("htmx:afterSettle", fill);
fill();
