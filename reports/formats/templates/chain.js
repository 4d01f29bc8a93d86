// The chain of artifacts: what rows were made from, down to the sources outside the run.

const digest = (sha256) => el("code", { className: "sha", title: sha256 }, sha256.slice(0, 12));

function madeFrom(known, inputs) {
  const list = el("ul", { className: "chain" });
  for (const [name, sha256] of Object.entries(inputs)) list.append(link(known, name, sha256, false));
  return list;
}

function manifest(known, made) {
  const counts = Object.entries(made.counts).map(([name, value]) => `${name} ${count(value)}`).join(", ");
  const config = JSON.stringify(made.config, null, 2);
  const none = Object.keys(made.inputs).length === 0;
  return el("div", { className: "manifest" },
    facts([
      ["File", made.path],
      ["Rows", made.rows === null ? null : count(made.rows)],
      ["Counts", counts],
      ["Code version", made.code_version],
      ["Seed", made.seed],
      ["Finished", made.finished_at],
      ["Duration", `${made.seconds.toLocaleString("en", { maximumFractionDigits: 1 })} s`],
      ["Engine", made.engine],
      ["sha256", made.sha256],
    ]),
    el("details", { className: "config" }, el("summary", {}, "Settings"), el("pre", {}, config)),
    none ? el("p", { className: "quiet" }, "No inputs.")
      : el("p", { className: "from" }, "Inputs"),
    none ? null : madeFrom(known, made.inputs));
}

// One artifact of a chain; its own inputs are drawn when it is opened, so that a graph in which
// many chains meet stays small.
function link(known, address, sha256, open) {
  const made = known.get(address);
  if (!made) {
    return el("li", { className: "outside" }, el("code", {}, address), " ", digest(sha256),
      el("span", { className: "quiet" }, " external source"));
  }
  const branch = el("details", {},
    el("summary", {}, el("code", {}, address), " ", el("span", { className: "quiet" }, made.title), " ", digest(made.sha256)));
  const draw = () => branch.childElementCount === 1 && branch.append(manifest(known, made));
  branch.addEventListener("toggle", () => branch.open && draw());
  if (open) {
    draw();
    branch.open = true;
  }
  return el("li", {}, branch);
}

async function chain(address, open) {
  const known = await artifacts();
  if (!known.has(address)) {
    return el("p", { className: "quiet" }, `The report has no manifest of ${address}.`);
  }
  return el("ul", { className: "chain" }, link(known, address, "", open));
}
