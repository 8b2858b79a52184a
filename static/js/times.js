// Durations count on while the page is open, and times of day are in the reader's time zone.
// queues/words.py says durations the same way.

const served = Number(document.querySelector("meta[name=server-time]")?.content) || Date.now();
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

function clock(at) {
  const sameDay = at.toDateString() === new Date(now()).toDateString();
  const time = { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false };
  return at.toLocaleString("en-GB", sameDay ? time : { day: "numeric", month: "short", ...time });
}

function count() {
  for (const element of document.querySelectorAll("time[data-since]")) {
    const text = duration((now() - Date.parse(element.dateTime)) / 1000);
    if (element.textContent !== text) element.textContent = text;
  }
}

export function readable(root) {
  for (const element of root.querySelectorAll("time")) {
    const at = new Date(element.dateTime);
    if ("clock" in element.dataset) element.textContent = clock(at);
    else element.title = at.toLocaleString("en-GB");
  }
}

readable(document);
document.addEventListener("htmx:afterSwap", (event) => readable(event.target));
setInterval(() => document.hidden || count(), 1000);
