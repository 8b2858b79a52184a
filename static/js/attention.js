// How many queues need attention, in the title and the icon of the tab.

const icon = document.getElementById("icon");
const calm = document.title.replace(/^\(\d+\) /, "");

export function showAttention(count) {
  const title = count ? `(${count}) ${calm}` : calm;
  if (document.title !== title) document.title = title;
  const href = count ? icon.dataset.attention : icon.dataset.calm;
  if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
}
