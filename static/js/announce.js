// Results of actions, said to everybody: shown, and read aloud because #toasts is a live region.

const SHOWN_FOR = 7000;
const place = document.getElementById("toasts");

export function announce(text, kind = "success") {
  const toast = document.createElement("p");
  toast.className = `toast ${kind}`;
  toast.textContent = text;
  place.append(toast);
  leaveLater(toast);
}

function leaveLater(toast) {
  setTimeout(() => (toast.matches(":hover") ? leaveLater(toast) : toast.remove()), SHOWN_FOR);
}

for (const toast of place.querySelectorAll(".toast")) leaveLater(toast);
document.addEventListener("polos:done", (event) => announce(event.detail.text));
document.addEventListener("polos:refused", (event) => announce(event.detail.text, "error"));
document.addEventListener("htmx:sendError", () => announce("The server does not answer; nothing was carried out.", "error"));
document.addEventListener("htmx:responseError", ({ detail }) => {
  const why = { 403: "Your role does not allow this, or the page is too old: load it again.", 404: "It is not there any more." };
  announce(why[detail.xhr.status] ?? "Something broke on the server; load the page again.", "error");
});
