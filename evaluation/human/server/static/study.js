// Keys for voting, and what a reader of the screen needs when htmx swaps the page's content.
"use strict";

const UNREAD_MS = 300; // a key pressed sooner was meant for the item before
let swapped = -UNREAD_MS;
let sending = false;

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (event.target.closest("input, textarea, select, summary")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const button = key === "u"
    ? document.querySelector(".undo button")
    : document.querySelector(`.vote [data-key="${CSS.escape(key)}"]`);
  if (!button) return;
  event.preventDefault();
  if (!sending && performance.now() - swapped >= UNREAD_MS) button.click();
});

document.addEventListener("submit", (event) => {
  // A second click while the first is on its way; the server would ignore it, too.
  if (!sending) return;
  event.preventDefault();
  event.stopPropagation();
}, true);

document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.detail.requestConfig.verb !== "post") return;
  sending = true;
  document.getElementById("trouble").hidden = true;
});

document.addEventListener("htmx:afterRequest", () => { sending = false; });

document.addEventListener("htmx:afterSwap", () => {
  swapped = performance.now();
  document.querySelector("#page h1")?.focus({ preventScroll: true });
});

for (const trouble of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(trouble, () => {
    document.getElementById("trouble").hidden = false;
  });
}
