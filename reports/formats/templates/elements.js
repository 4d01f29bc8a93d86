// Making elements and addresses. Texts of models and judges only ever become text nodes.

function el(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const count = (value) => value.toLocaleString("en");
const place = (...parts) => "#" + parts.map(encodeURIComponent).join("/");
const go = (hash) => { location.hash = hash; };
const press = (text, action, className = "") => {
  const button = el("button", { type: "button", className }, text);
  button.addEventListener("click", action);
  return button;
};

const LONG = 40; // characters of a value that takes a line of its own

function facts(pairs) {
  const list = el("dl", { className: "facts" });
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "") continue;
    const shown = String(value);
    list.append(el("div", { className: shown.length > LONG ? "long" : "" },
      el("dt", {}, name), el("dd", { dir: "auto" }, shown)));
  }
  return list;
}
