// hx-confirm asks in our own dialog, which stays until it is answered: a refusal is said in it.

const dialog = document.getElementById("dialog");
const body = document.getElementById("dialog-body");

document.addEventListener("htmx:confirm", (event) => {
  const { question, elt, issueRequest } = event.detail;
  if (!question) return;
  event.preventDefault();
  const word = elt.querySelector("button")?.textContent ?? "Go on";
  body.replaceChildren(sheet(question, word, ({ target }) => {
    target.disabled = true;
    issueRequest(true);
  }));
  dialog.showModal();
});

function sheet(question, word, go) {
  const form = make("div", "sheet");
  const title = make("h1", "", question);
  title.id = "dialog-title";
  const buttons = make("p", "buttons");
  const back = make("button", "", "Back");
  const yes = make("button", "danger", word);
  back.addEventListener("click", () => dialog.close());
  yes.addEventListener("click", go);
  buttons.append(back, yes);
  form.append(title, buttons);
  return form;
}

function make(tag, className, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}
