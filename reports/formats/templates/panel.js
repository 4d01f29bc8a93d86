// The panel: rows behind a number, one row with its texts, and the chain of artifacts. What it shows
// is in the address (#rows/GROUP, #rows/GROUP/ROW, #made/ARTIFACT), so that it can be linked and
// Back works.

let panel, above, title, body, back;
let steps = 0; // places visited since the panel opened
let asked = 0; // which address was asked for last; slower answers to earlier ones are dropped
let origin = { key: "", words: "" }; // the number that was pressed: its group, and what it says

function parse() {
  try {
    const [kind, ...rest] = location.hash.slice(1).split("/").map(decodeURIComponent);
    return kind === "rows" || kind === "made" ? [kind, ...rest] : [];
  } catch {
    return []; // not an address that we wrote
  }
}

// What an address shows: a title, the words above it, and what stands below.
async function viewOf(kind, key, row) {
  if (kind === "made") return { title: key, nodes: [await chain(key, true)] };
  const group = await groupOf(key);
  if (!group) return { title: "Not in this report", nodes: [el("p", {}, `It has no rows called ${key}.`)] };
  if (row !== undefined) return { above: group.title, title: row, nodes: await itemView(key, group, row) };
  const words = origin.key === key ? origin.words : "";
  return { title: group.title, nodes: await listView(key, group, words) };
}

// Where the keyboard goes: to the same button for those who step from row to row, to the row they
// came from in a list, else to the title.
function placeFocus(kind, key, row, step) {
  const last = row === undefined && kind === "rows" ? lists.get(key)?.last ?? -1 : -1;
  const again = step && body.querySelector(`button[data-step="${step}"]:enabled`);
  const from = last < 0 ? null : body.querySelector(`button.row[data-at="${last}"]`);
  body.scrollTop = 0;
  (again || from || title).focus();
  from?.scrollIntoView({ block: "center" });
}

async function show() {
  const [kind, key, row] = parse();
  asked += 1;
  const turn = asked;
  if (!kind) return panel.close();
  let view;
  try {
    view = await viewOf(kind, key, row);
  } catch (error) {
    view = { title: "The rows cannot be shown", nodes: [el("p", { className: "notice" }, error.message)] };
  }
  if (turn !== asked) return;
  const { step } = document.activeElement.dataset;
  above.textContent = view.above ?? "";
  title.textContent = view.title;
  body.replaceChildren(...view.nodes.filter(Boolean));
  if (!panel.open) {
    steps = 0;
    panel.showModal();
  }
  back.hidden = steps === 0;
  steps += 1;
  placeFocus(kind, key, row, step);
}

// Say which number was pressed: table, row, column, and what the cell shows.
function inWords(button) {
  const cell = button.closest("td");
  if (!cell) return "";
  const words = (node) => node.textContent.replace(/ – show the rows/, "").replace(/\s+/g, " ").trim();
  const table = cell.closest("table");
  const row = cell.parentElement;
  const heading = document.getElementById(table.getAttribute("aria-labelledby")).firstChild;
  const heads = table.tHead.rows[0].cells;
  const column = cell.colSpan > 1 ? "" : words(heads[cell.cellIndex]);
  const full = cell.querySelector(".gap")?.title;
  const shown = full ? `missing: ${full}` : [...cell.children].map(words).join("; ");
  return [words(heading), words(row.cells[0]), column, shown].filter(Boolean).join(" · ");
}

document.addEventListener("DOMContentLoaded", () => {
  panel = document.getElementById("panel");
  above = document.getElementById("panel-above");
  title = document.getElementById("panel-title");
  body = document.getElementById("panel-body");
  back = document.getElementById("panel-back");
  document.querySelectorAll("button.drill").forEach((button) => {
    button.disabled = false;
    button.title = "rows" in button.dataset ? "Show the rows behind this number" : "Show its inputs";
    button.addEventListener("click", () => {
      const { rows, made } = button.dataset;
      origin = { key: rows, words: inWords(button) };
      go(rows === undefined ? place("made", made) : place("rows", rows));
    });
  });
  back.addEventListener("click", () => history.back());
  document.getElementById("panel-close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => event.target === panel && panel.close());
  panel.addEventListener("close", () => {
    origin = { key: "", words: "" };
    body.replaceChildren();
    // Not `location.hash = ""`: that would scroll the page to its top.
    if (parse().length) history.pushState(null, "", "#");
  });
  addEventListener("hashchange", show);
  if (parse().length) show();
});
