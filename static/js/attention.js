// How many queues need attention, in the title and the icon of the tab.

const icon = document.getElementById("icon");
const title = document.querySelector("title");

export function showAttention(count) {
  const text = count ? `(${count}) ${title.dataset.title}` : title.dataset.title;
  if (document.title !== text) document.title = text;
  const href = count ? icon.dataset.attention : icon.dataset.calm;
  if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
}
