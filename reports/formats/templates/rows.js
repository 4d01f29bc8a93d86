// A list of rows.

const MOST_SHOWN = 200;
const lists = new Map(); // group → how the reader left its list: filter, rows shown, last row

function matching(group, filter) {
  const wanted = filter.toLowerCase();
  const all = group.items.map((_, at) => at);
  if (!wanted) return all;
  const has = (text) => text.toLowerCase().includes(wanted);
  return all.filter((at) => {
    const [key, cells, parts] = group.items[at];
    return has(key) || cells.some(has) || parts.some(([, text]) => has(text));
  });
}

function listState(key, group) {
  if (!lists.has(key)) {
    lists.set(key, { filter: "", shown: MOST_SHOWN, last: -1, found: matching(group, "") });
  }
  return lists.get(key);
}

function rowOf(key, group, at) {
  const [row, cells] = group.items[at];
  const open = press(cells[0] || row, () => go(place("rows", key, row)), "row");
  open.dataset.at = at;
  open.dir = "auto";
  const line = el("tr", {}, el("th", { scope: "row" }, open));
  for (const text of cells.slice(1)) line.append(el("td", { dir: "auto" }, el("span", { className: "text" }, text)));
  line.addEventListener("click", (event) => {
    if (event.target.closest("button") || String(getSelection())) return;
    open.click();
  });
  return line;
}

function moveInList(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step || !event.target.matches("button.row")) return;
  const buttons = [...event.currentTarget.querySelectorAll("button.row")];
  const next = buttons[buttons.indexOf(event.target) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}

function howMany(group) {
  const most = group.items.length < group.total ? "; the rest were left out to keep this file small" : "";
  return el("p", { className: "how-many" },
    `showing ${count(group.items.length)} of ${count(group.total)} rows; all in `,
    el("code", {}, group.artifact), most);
}

async function listView(key, group, origin) {
  const state = listState(key, group);
  const lines = el("tbody");
  const status = el("p", { className: "quiet" });
  status.setAttribute("role", "status");
  const more = press("", () => draw(state.shown + MOST_SHOWN), "more");
  const table = el("table", { className: "rows" },
    el("thead", {}, el("tr", {}, ...group.columns.map((name) => el("th", { scope: "col" }, name)))), lines);
  table.addEventListener("keydown", moveInList);

  function draw(shown) {
    const from = lines.childElementCount;
    state.shown = shown;
    lines.append(...state.found.slice(from, shown).map((at) => rowOf(key, group, at)));
    const left = state.found.length - lines.childElementCount;
    more.hidden = left <= 0;
    more.textContent = `Show ${count(Math.min(left, MOST_SHOWN))} more of ${count(left)}`;
    status.textContent = state.filter ? `${count(state.found.length)} match` : "";
    if (from && shown > from) lines.children[from]?.querySelector("button").focus();
  }

  const filter = el("input", { type: "text", id: "panel-filter", value: state.filter, autocomplete: "off", spellcheck: false });
  let timer = 0;
  filter.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      Object.assign(state, { filter: filter.value, found: matching(group, filter.value), last: -1 });
      lines.replaceChildren();
      draw(MOST_SHOWN);
    }, 120);
  });
  draw(state.shown);
  return [
    origin ? el("p", { className: "origin-number" }, origin) : null,
    howMany(group),
    el("details", { className: "from-where" }, el("summary", {}, "Provenance of these rows"), await chain(group.artifact, true)),
    el("div", { className: "filter" }, el("label", { htmlFor: "panel-filter" }, "Filter"), filter, status),
    el("div", { className: "scroll" }, table),
    more,
  ];
}
