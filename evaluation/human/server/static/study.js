// Keyboard shortcuts for voting, protection against double submission, and focus for screen readers.
"use strict";

const UNREAD_MS = 300; // a key pressed sooner after loading was meant for the previous item
const loaded = performance.now();
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
  if (!sending && performance.now() - loaded >= UNREAD_MS) button.click();
});

document.addEventListener("submit", (event) => {
  // A second click while the first request is pending; the server would ignore it, too.
  if (sending) event.preventDefault();
  sending = true;
});

// A page restored by the browser's "back" can be submitted again.
window.addEventListener("pageshow", () => { sending = false; });

document.querySelector("#page h1")?.focus({ preventScroll: true });
