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

for (const toast of place.querySelectorAll(".toast:not(.warning)")) leaveLater(toast); // a warning stays with its page
document.addEventListener("polos:done", (event) => announce(event.detail.text));
document.addEventListener("polos:refused", (event) => refuse(event.detail.text));
document.addEventListener("htmx:sendError", () => refuse("The server does not answer; nothing was carried out."));
document.addEventListener("htmx:responseError", ({ detail: { xhr } }) => {
  const page = new DOMParser().parseFromString(xhr.status < 500 ? xhr.responseText : "", "text/html");
  const why = Array.from(page.querySelectorAll("main .sheet p:not(.buttons)"), (p) => p.textContent).join(" ");
  refuse(why || "Something broke on the server; load the page again.");
});

// A toast would be behind an open dialog: there it is said in it, above what was typed.
function refuse(text) {
  const sheet = document.querySelector("#dialog[open] .sheet");
  if (!sheet) return announce(text, "error");
  sheet.querySelector("[role=alert]")?.remove();
  const notice = document.createElement("p");
  notice.className = "notice bad";
  notice.role = "alert";
  notice.tabIndex = -1;
  notice.textContent = text;
  sheet.querySelector("h1").after(notice);
  notice.focus();
}
