// "3 changes waiting": rows hold still while somebody uses them, and this says what they would do otherwise.

import { applyWaiting } from "./regions.js";

const button = document.getElementById("held");
const said = document.getElementById("held-said");

document.addEventListener("polos:held", ({ detail: count }) => {
  // Said aloud once, not with every further change.
  if (button.hidden && count) said.textContent = "The list has changed. Press u to show the changes.";
  if (!count) said.textContent = "";
  button.hidden = !count;
  button.firstElementChild.textContent = count === 1 ? "1 change waiting" : `${count} changes waiting`;
});

button.addEventListener("click", applyWaiting);
