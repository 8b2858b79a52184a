// A button with [data-copy] copies the text of the element with that id, and says so.

const SAID_FOR = 1600;

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-copy]");
  const source = button && document.getElementById(button.dataset.copy);
  if (!source) return;
  const done = await copy(source);
  button.dataset.label ??= button.textContent;
  button.textContent = done ? "Copied" : "Press Ctrl-C";
  setTimeout(() => (button.textContent = button.dataset.label), SAID_FOR);
});

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    return copySelected(source); // without https browsers have no clipboard
  }
}

function copySelected(source) {
  const details = source.closest("details");
  if (details) details.open = true;
  const selection = getSelection();
  selection.selectAllChildren(source);
  const done = document.execCommand("copy");
  if (done) selection.removeAllRanges();
  return done;
}
