// One row: its cells, its texts, ways to other rows, and what it was made from.

async function onward(label, group, row) {
  const target = await groupOf(group);
  const here = target && target.places.has(row);
  if (here) return press(`${label} →`, () => go(place("rows", group, row)), "onward");
  const where = target ? `row ${row} was left out of this report; it is in ${target.artifact}`
    : `row ${row} of ${group} is not in this report`;
  return el("p", { className: "quiet" }, `${label}: ${where}`);
}

function neighbours(key, group, at) {
  const { found } = listState(key, group);
  const here = found.indexOf(at);
  const step = (label, to) => {
    const button = press(label, () => go(place("rows", key, group.items[found[to]][0])));
    button.dataset.step = label;
    button.disabled = here < 0 || to < 0 || to >= found.length;
    return button;
  };
  return el("div", { className: "neighbours" },
    press("All rows", () => go(place("rows", key))), step("Previous", here - 1), step("Next", here + 1),
    el("span", { className: "quiet" }, here < 0 ? "" : `${count(here + 1)} of ${count(found.length)}`));
}

async function itemView(key, group, row) {
  if (!group.places.has(row)) {
    return [el("p", {}, `Row ${row} was left out of this report to keep it small. All rows are in `, el("code", {}, group.artifact), "."),
      press("All rows", () => go(place("rows", key)))];
  }
  const at = group.places.get(row);
  const [, cells, parts, links] = group.items[at];
  listState(key, group).last = at;
  const ways = await Promise.all(links.map((way) => onward(...way)));
  return [
    neighbours(key, group, at),
    facts(group.columns.map((name, column) => [name, cells[column]])),
    ...parts.map(([heading, text]) => el("section", { className: "words-of" },
      el("h3", { dir: "auto" }, heading), el("pre", { dir: "auto" }, text))),
    ways.length ? el("div", { className: "ways" }, ...ways) : null,
    el("h3", {}, "Provenance of this row"),
    await chain(group.artifact, true),
  ];
}
