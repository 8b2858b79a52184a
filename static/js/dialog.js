// What HTMX loads into #dialog-body opens as a modal dialog; a finished action closes it.

const dialog = document.getElementById("dialog");
const body = document.getElementById("dialog-body");

// After HTMX has settled, because it then moves the focus to [autofocus] by itself.
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target !== body) return;
  if (!dialog.open) dialog.showModal();
  // A refused form is shown again: go to what is wrong, else to where the dialog wants to begin.
  const first = ["[aria-invalid=true]", "[role=alert]", "[autofocus]"].map((some) => body.querySelector(some)).find(Boolean);
  if (first?.role === "alert") first.tabIndex = -1;
  first?.focus();
  first?.select?.();
});

document.addEventListener("polos:done", () => dialog.close());
dialog.addEventListener("close", () => body.replaceChildren());

// From the press on, so that a selection that ends outside does not close it.
dialog.addEventListener("pointerdown", (event) => {
  if (event.target !== dialog) return;
  const box = dialog.getBoundingClientRect();
  const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
  if (!inside) dialog.close();
});
dialog.addEventListener("click", (event) => {
  if (!event.target.closest("[data-close]")) return;
  event.preventDefault();
  dialog.close();
});

// Typing a number means the option beside it.
document.addEventListener("input", (event) => {
  const value = event.target.dataset?.picks;
  const option = value && event.target.form.querySelector(`input[type=radio][value="${value}"]`);
  if (option) option.checked = true;
});

// A one-time link is there to be copied.
document.addEventListener("focusin", (event) => event.target.matches("[data-select]") && event.target.select());
