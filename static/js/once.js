// A form is sent once, however often one presses: not again while it is under way, a double click is one click (also on
// what appears below it), and an Enter that is held down is one Enter.

const POST = "form[method=post]";
const stop = (event) => {
  event.preventDefault();
  event.stopImmediatePropagation();
};

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches(POST)) return;
  if (form.ariaBusy) stop(event);
  else if (!form.hasAttribute("hx-post")) form.ariaBusy = "true"; // until the next page
}, true);
document.addEventListener("htmx:beforeRequest", ({ target }) => target.matches(POST) && (target.ariaBusy = "true"));
document.addEventListener("htmx:afterRequest", ({ target }) => target.matches?.(POST) && (target.ariaBusy = null));
addEventListener("pageshow", ({ persisted }) => persisted && document.querySelectorAll(POST).forEach((form) => (form.ariaBusy = null)));

document.addEventListener("click", (event) => {
  if (event.detail > 1 && event.target.closest?.("button, .button")) stop(event);
}, true);
document.addEventListener("keydown", (event) => {
  if (event.repeat && event.key === "Enter" && !event.target.matches?.("textarea")) stop(event);
}, true);
