// Elements from data. Text only ever becomes a text node, so nothing that a model, a tool or a tag
// says can become markup.

const SVG = "http://www.w3.org/2000/svg";

export function h(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, v] of Object.entries(value)) element.style.setProperty(key, v);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(9)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

export function replace(element, ...children) {
  const fresh = document.createDocumentFragment();
  append(fresh, children);
  element.replaceChildren(fresh);
}

export function byId(id) {
  return document.getElementById(id);
}

let described = 0;

// A drawing with a name, and the same figures as a table behind it.
export function figure(title, note, drawing, table, options = {}) {
  const id = `figure-${++described}`;
  const heading = h("h2", { id }, title);
  const parts = [h("div", { class: "panel-head" }, heading, options.beside)];
  if (note) parts.push(h("p", { class: "note" }, note));
  parts.push(drawing);
  if (table) parts.push(h("details", { class: "behind" }, h("summary", {}, "Show as a table"), table));
  return h("section", { class: `panel ${options.class ?? ""}`, "aria-labelledby": id }, parts);
}

// rows: arrays of cells; a cell is a text, a node, or {text, value, of} with `value` kept for tests.
export function table(caption, head, rows, options = {}) {
  const right = options.right ?? head.map((_, n) => n > 0);
  return h(
    "div",
    { class: "scroll-x", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      { class: `plain ${options.class ?? ""}`, id: options.id },
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, head.map((text, n) => h("th", { scope: "col", class: right[n] ? "right" : null }, text)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, n) => cellOf(cell, n, right[n]))))),
    ),
  );
}

function cellOf(cell, n, right) {
  const rich = cell !== null && typeof cell === "object" && !(cell instanceof Node);
  const attributes = { class: right ? "right" : null, "data-value": rich ? cell.value : null, title: rich ? cell.title : null };
  const content = rich ? (cell.node ?? cell.text) : cell;
  return n === 0 ? h("th", { scope: "row", ...attributes }, content) : h("td", attributes, content);
}
