// The search line suggests what may stand where the caret is. The server finds; this moves among the finds and puts
// the chosen one into the line. Enter without a choice searches.

const input = document.getElementById("q");
const list = document.getElementById("suggestions");
const said = document.getElementById("suggested");
let at = -1; // which one is chosen; none at first, so that Enter means the line
let picked; // its text, since the last letter: an answer that comes late keeps it

input.addEventListener("htmx:configRequest", ({ detail }) => {
  detail.parameters.delete("cursor");
  detail.parameters.set("at", input.selectionStart);
});
input.addEventListener("keydown", press);
input.addEventListener("input", () => (picked = undefined));
input.addEventListener("focus", () => input.value || window.htmx.trigger(input, "suggest"));
input.addEventListener("blur", hide);
list.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays where it is
list.addEventListener("click", (event) => take(event.target.closest("[role=option]")));
list.addEventListener("htmx:afterSettle", show);
input.form.addEventListener("submit", hide);

// What was wrong with the last line is said in the list.
document.addEventListener("htmx:afterSettle", ({ target }) => {
  if (target.id !== "list") return;
  if (document.getElementById("problems")) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
});

const options = () => [...list.querySelectorAll("[role=option]")];

function show() {
  choose(options().findIndex((option) => option.dataset.text === picked));
  const count = options().length;
  const open = count > 0 && document.activeElement === input;
  list.hidden = !open;
  input.setAttribute("aria-expanded", String(open));
  said.textContent = open ? `${count} ${count === 1 ? "suggestion" : "suggestions"}, arrow keys to choose` : "";
}

function hide() {
  list.hidden = true;
  input.setAttribute("aria-expanded", "false");
  said.textContent = "";
  choose(-1);
}

function choose(index) {
  at = index;
  const all = options();
  all.forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
  if (all[at]) input.setAttribute("aria-activedescendant", all[at].id);
  else input.removeAttribute("aria-activedescendant");
  all[at]?.scrollIntoView({ block: "nearest" });
  picked = all[at]?.dataset.text;
}

function press(event) {
  const count = options().length;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && list.hidden) window.htmx.trigger(input, "suggest");
  else if (step && count) choose(at < 0 && step < 0 ? count - 1 : (at + step + count) % count);
  else if (event.key === "Enter" && at >= 0) take(options()[at]);
  else if (event.key === "Tab" && at >= 0 && !event.shiftKey) take(options()[at]);
  else if (event.key === "Escape" && !list.hidden) hide();
  else return;
  event.preventDefault();
}

function take(option) {
  if (!option) return;
  const { text, start, end, whole } = option.dataset;
  const after = input.value.slice(Number(end));
  choose(-1);
  input.setRangeText(whole === undefined || after.startsWith(" ") ? text : `${text} `, Number(start), Number(end), "end");
  if (whole === undefined) return window.htmx.trigger(input, "suggest");
  input.form.requestSubmit();
}
