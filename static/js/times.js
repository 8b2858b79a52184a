// Durations count on while the page is open, and times of day are in the time zone that the reader chose, by default
// the browser's. Who prefers times of day to "5 min ago" reads those. queues/words.py says durations the same way.

const served = Number(document.querySelector("meta[name=server-time]")?.content) || Date.now();
const { zone, times } = document.documentElement.dataset;
export const timeZone = known(zone);
const ahead = served - Date.now(); // of the server's clock over ours

export const now = () => Date.now() + ahead;

export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 600) return two(whole, 60, "min", 1, "s");
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return two(whole, 3600, "h", 60, "min");
  return two(whole, 86400, "d", 3600, "h");
}

function two(whole, big, bigWord, small, smallWord) {
  const rest = Math.floor((whole % big) / small);
  const first = `${Math.floor(whole / big)} ${bigWord}`;
  return rest ? `${first} ${rest} ${smallWord}` : first;
}

// Undefined is the browser's own.
function known(name) {
  try {
    return name === "browser" ? undefined : new Intl.DateTimeFormat("en-GB", { timeZone: name }).resolvedOptions().timeZone;
  } catch {
    return undefined;
  }
}

const day = (at) => at.toLocaleDateString("en-GB", { timeZone });

export function clock(at) {
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZone };
  return at.toLocaleString("en-GB", day(at) === day(new Date(now())) ? time : { day: "numeric", month: "short", ...time });
}

function ago(at) {
  return times === "absolute" ? clock(at) : `${duration((now() - at) / 1000)} ago`;
}

function left(at) {
  return times === "absolute" ? clock(at) : `in ${duration((at - now()) / 1000)}`;
}

function count() {
  for (const element of document.querySelectorAll("time[data-since]")) {
    const text = duration((now() - Date.parse(element.dateTime)) / 1000);
    if (element.textContent !== text) element.textContent = text;
  }
  for (const element of document.querySelectorAll("time[data-ago], time[data-left]")) {
    const said = "ago" in element.dataset ? ago : left;
    const text = said(new Date(element.dateTime));
    if (element.textContent !== text) element.textContent = text;
  }
}

export function readable(root) {
  for (const element of root.querySelectorAll("time")) {
    const at = new Date(element.dateTime);
    if ("clock" in element.dataset) element.textContent = clock(at);
    else element.title = at.toLocaleString("en-GB", { timeZone, timeZoneName: "short" });
    if ("ago" in element.dataset) element.textContent = ago(at);
    if ("left" in element.dataset) element.textContent = left(at);
  }
}

// Ends of pauses are written in the reader's own time zone.
function sayZone(root) {
  const name = timeZone ?? new Intl.DateTimeFormat().resolvedOptions().timeZone;
  for (const input of root.querySelectorAll("input[name=zone][type=hidden]:not([data-fixed])")) input.value = name;
  for (const said of root.querySelectorAll("[data-zone-name]")) said.textContent = name;
}

sayZone(document);
readable(document);
document.addEventListener("htmx:afterSwap", (event) => {
  readable(event.target);
  sayZone(event.target);
});
setInterval(() => document.hidden || count(), 1000);
