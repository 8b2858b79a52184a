// Ticked rows: how many there are, what can be done with them, and all of them at once. They stay ticked, and the rows
// stay where they are, until something was done with them or they are unticked.

const bar = document.getElementById("picked");
const BOX = "#list td input[type=checkbox]";
const boxes = () => [...document.querySelectorAll(BOX)];
let last = null; // the box that was clicked before

if (bar) {
  document.addEventListener("change", ({ target }) => {
    if (target.id === "tick-all") tick(boxes(), target.checked);
    else if (target.matches(BOX)) count();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.matches(BOX)) return;
    if (event.shiftKey && last) tick(between(last, event.target.id), event.target.checked);
    last = event.target.id;
  });
  document.getElementById("untick").addEventListener("click", () => tick(boxes(), false));
  document.addEventListener("polos:done", () => document.getElementById("many") && tick(boxes(), false));
  for (const happened of ["polos:rows", "htmx:afterSettle"]) document.addEventListener(happened, count);
  count();
}

function tick(some, checked) {
  for (const box of some) box.checked = checked;
  count();
}

function between(one, other) {
  const all = boxes();
  const [from, to] = [one, other].map((id) => all.findIndex((box) => box.id === id)).sort((a, b) => a - b);
  return all.slice(Math.max(0, from), to + 1);
}

function count() {
  const all = boxes();
  const ticked = all.filter((box) => box.checked).length;
  const everything = document.getElementById("tick-all");
  if (everything) {
    everything.checked = ticked > 0 && ticked === all.length;
    everything.indeterminate = ticked > 0 && ticked < all.length;
  }
  bar.hidden = !ticked;
  const said = bar.firstElementChild;
  const text = ticked ? `${ticked} ticked` : "";
  if (said.textContent !== text) said.textContent = text;
}
