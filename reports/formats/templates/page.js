// The page itself: the contents list, sortable tables, what print and narrow screens need.

document.documentElement.classList.add("js");

// Contents -------------------------------------------------------------------------------------

function foldContents() {
  const nav = document.getElementById("contents");
  const toggle = document.getElementById("contents-toggle");
  const fold = (open) => {
    nav.classList.toggle("open", open);
    toggle.setAttribute("aria-expanded", String(open));
  };
  toggle.addEventListener("click", () => fold(!nav.classList.contains("open")));
  nav.addEventListener("click", (event) => event.target.closest("a") && fold(false));
  nav.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !nav.classList.contains("open")) return;
    fold(false);
    toggle.focus();
  });
}

// Mark the section that the reader is in: the last one that begins above the upper third.
function markPlace() {
  const links = [...document.querySelectorAll("#contents-list > li > a")];
  const parts = links.map((link) => document.getElementById(link.hash.slice(1)));
  let waiting = false;
  const mark = () => {
    waiting = false;
    const line = innerHeight / 3;
    let here = parts.findLastIndex((part) => part && part.getBoundingClientRect().top < line);
    const end = document.documentElement;
    if (scrollY > 0 && scrollY + innerHeight >= end.scrollHeight - 2) here = parts.length - 1;
    links.forEach((link, at) => {
      if (at === Math.max(here, 0)) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  };
  addEventListener("scroll", () => {
    if (!waiting) requestAnimationFrame(mark);
    waiting = true;
  }, { passive: true });
  mark();
}

// Sorting --------------------------------------------------------------------------------------

// A cell as [class, value]: numbers before words, missing ones last in either direction.
function sortable(row, at) {
  const cell = row.cells[at];
  if (!cell || cell.classList.contains("whole")) return [2, 0];
  if ("v" in cell.dataset) return [0, Number(cell.dataset.v)];
  const words = cell.querySelector(".label, .text") || (cell.classList.contains("num") ? null : cell);
  const text = words ? words.textContent.trim() : "";
  return text ? [1, text] : [2, 0];
}

function compare([classA, a], [classB, b], direction) {
  if (classA !== classB) return classA - classB;
  if (classA === 2) return 0;
  return direction * (classA === 0 ? a - b : a.localeCompare(b, "en", { numeric: true }));
}

// Each press goes on: numbers from the largest, then the smallest, then the report's own order.
function makeSortable(table) {
  const bodies = [...table.tBodies];
  const rows = bodies.flatMap((body) => [...body.rows]).filter((row) => row.className !== "heading");
  const heads = [...table.tHead.rows[0].cells];
  if (rows.length < 2) return;
  const home = bodies.map((body) => [...body.rows]);
  const sorted = document.createElement("tbody");

  function restore() {
    sorted.remove();
    bodies.forEach((body, at) => body.append(...home[at]));
    table.append(...bodies);
    table.classList.remove("sorted");
  }

  function sortBy(at, direction) {
    const keyed = rows.map((row) => [sortable(row, at), row]);
    keyed.sort(([a], [b]) => compare(a, b, direction));
    sorted.append(...keyed.map(([, row]) => row));
    bodies.forEach((body) => body.remove());
    table.append(sorted);
    table.classList.add("sorted");
  }

  rows.forEach((row) => row.classList.add(row.parentElement.classList[0] || "measured"));
  heads.forEach((head, at) => {
    const press = document.createElement("button");
    press.type = "button";
    press.append(...head.childNodes);
    head.append(press);
    const first = head.classList.contains("num") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    press.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (was === second) return restore();
      const now = was === first ? second : first;
      head.setAttribute("aria-sort", now);
      sortBy(at, now === "ascending" ? 1 : -1);
    });
  });
}

// Scrolling and print --------------------------------------------------------------------------

// Only what can be scrolled is a stop for the keyboard, and fades where there is more.
function watchWidths() {
  const look = (box) => {
    const left = box.scrollWidth - box.clientWidth;
    box.classList.toggle("wide", left > 0);
    box.classList.toggle("more-right", left - box.scrollLeft > 2);
    if (left > 0) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  };
  const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => look(target)));
  document.querySelectorAll("main .scroll").forEach((box) => {
    watch.observe(box);
    box.addEventListener("scroll", () => look(box), { passive: true });
  });
}

function openForPrint() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    opened.forEach((details) => { details.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((details) => { details.open = false; }));
}

document.addEventListener("DOMContentLoaded", () => {
  foldContents();
  markPlace();
  document.querySelectorAll("main table").forEach(makeSortable);
  watchWidths();
  openForPrint();
});
