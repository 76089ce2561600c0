// Drawings in SVG. Each shows figures that a table behind it holds too, so to a screen reader it is
// one image with a name. Widths are those of the viewBox; the browser scales.

import { h, svg } from "./dom.js";
import { axisUsd, count, ticks, usd } from "./format.js";

// Drawings are made at the width they are shown at, so that their texts keep their size.
export function roomFor(columns) {
  const page = Math.min(1480, document.documentElement.clientWidth);
  const [edge, inner] = page <= 720 ? [32, 28] : [56, 36];
  const share = page <= 1080 ? 1 : columns / 12;
  return Math.max(260, Math.floor((page - edge) * share - inner - (share < 1 ? 6 : 0)));
}

// Columns of stacked parts. columns: [{label, parts: [{name, value, colour}], marks?: [{text, kind}]}]
export function stackedColumns({ name, columns, height = 200, format = usd, axis = format === usd ? axisUsd : format, width = roomFor(8), every }) {
  const left = 48;
  const bottom = 24;
  const top = columns.some((c) => c.marks?.length) ? 20 : 8;
  const most = Math.max(0, ...columns.map((c) => c.parts.reduce((sum, p) => sum + p.value, 0)));
  const scale = (height - top - bottom) / (most || 1);
  const step = (width - left - 6) / Math.max(1, columns.length);
  const bar = Math.max(1, Math.min(46, step * 0.78));
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name, class: "chart" });
  for (const at of ticks(most)) {
    const y = height - bottom - at * scale;
    if (y < top - 1) continue;
    drawing.append(
      svg("line", { x1: left, x2: width, y1: y, y2: y, class: "grid" }),
      svg("text", { x: left - 7, y: y + 3.5, class: "tick end" }, axis(at)),
    );
  }
  const shown = every ?? Math.max(1, Math.ceil(columns.length / (width / 78)));
  columns.forEach((column, n) => {
    const x = left + n * step + (step - bar) / 2;
    let y = height - bottom;
    const group = svg("g", { class: "column" });
    const told = column.parts.filter((p) => p.value > 0).map((p) => `${p.name} ${format(p.value)}`);
    group.append(svg("title", {}, `${column.title ?? column.label}\n${told.join("\n")}`));
    group.append(svg("rect", { x: left + n * step, y: top, width: step, height: height - bottom - top, class: "hit" }));
    for (const part of column.parts) {
      const size = part.value * scale;
      if (size <= 0) continue;
      y -= size;
      group.append(svg("rect", { x, y, width: bar, height: Math.max(size, 0.4), class: `fill ${part.colour}`, "data-part": part.name, "data-value": part.value }));
    }
    for (const mark of column.marks ?? []) {
      const cx = x + bar / 2;
      group.append(
        svg("path", { d: shapeOf(mark.kind, cx), class: `mark ${mark.kind}` }, svg("title", {}, mark.text)),
        svg("line", { x1: cx, x2: cx, y1: 13, y2: height - bottom, class: `mark-line ${mark.kind}` }),
      );
    }
    if (n % shown === 0) group.append(svg("text", { x: x + bar / 2, y: height - 7, class: "tick middle" }, column.label));
    drawing.append(group);
  });
  return drawing;
}

// ▲ for a step up, ◆ for the landing.
function shapeOf(kind, x) {
  return kind === "land" ? `M${x} 1.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z` : `M${x} 3l5.5 9h-11z`;
}

// What is left of a limit after each call; `levels` are lines across, `reserve` the band kept back.
export function burnDown({ name, limit, left: remaining, levels, reserve, marks, format = usd, axis = format === usd ? axisUsd : format, width = roomFor(12), height = 210 }) {
  const edge = 48;
  const bottom = 24;
  const top = 20;
  const lowest = Math.min(0, ...remaining);
  const scale = (height - top - bottom) / (limit - lowest);
  const y = (value) => height - bottom - (value - lowest) * scale;
  const step = (width - edge - 6) / Math.max(1, remaining.length - 1);
  const x = (n) => edge + n * step;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name, class: "chart" });
  for (const at of ticks(limit)) {
    drawing.append(
      svg("line", { x1: edge, x2: width, y1: y(at), y2: y(at), class: "grid" }),
      svg("text", { x: edge - 7, y: y(at) + 3.5, class: "tick end" }, axis(at)),
    );
  }
  if (reserve > 0) {
    drawing.append(
      svg("rect", { x: edge, y: y(reserve), width: width - edge, height: y(0) - y(reserve), class: "reserve", "data-value": reserve }, svg("title", {}, `${format(reserve)} kept for landing`)),
      svg("text", { x: width - 4, y: Math.max(y(reserve) - 5, top + 9), class: "tick end" }, `landing reserve ${format(reserve)}`),
    );
  }
  for (const level of levels) {
    drawing.append(
      svg("line", { x1: edge, x2: width, y1: y(level.left), y2: y(level.left), class: "level" }, svg("title", {}, level.text)),
      svg("text", { x: edge + 8, y: y(level.left) - 4, class: "tick" }, level.text),
    );
  }
  // A step line: a call's cost falls due when it settles.
  let path = `M${x(0)} ${y(remaining[0])}`;
  for (let n = 1; n < remaining.length; n++) path += `H${x(n)}V${y(remaining[n])}`;
  drawing.append(svg("path", { d: `${path}V${y(0)}H${edge}Z`, class: "burn-area" }), svg("path", { d: path, class: "burn" }));
  const dots = remaining.length > 400 ? [] : remaining;
  dots.forEach((value, n) => {
    drawing.append(svg("circle", { cx: x(n), cy: y(value), r: remaining.length > 60 ? 1.5 : 3, class: "dot", "data-value": value }, svg("title", {}, `${n === 0 ? "start" : `call ${n}`}: ${format(value)} left`)));
  });
  for (const mark of marks) {
    drawing.append(
      svg("line", { x1: x(mark.at), x2: x(mark.at), y1: 13, y2: y(lowest), class: `mark-line ${mark.kind}` }),
      svg("path", { d: shapeOf(mark.kind, x(mark.at)), class: `mark ${mark.kind}` }, svg("title", {}, mark.text)),
    );
  }
  const shown = Math.max(1, Math.ceil(remaining.length / (width / 62)));
  remaining.forEach((_, n) => {
    if (n % shown === 0) drawing.append(svg("text", { x: x(n), y: height - 7, class: "tick middle" }, n === 0 ? "start" : String(n)));
  });
  return drawing;
}

// Bars from a middle line: to the right what was saved, to the left what it cost more.
export function divergingBars(rows, format = usd) {
  const most = Math.max(1e-9, ...rows.map((row) => Math.abs(row.value)));
  const below = rows.some((row) => row.value < 0);
  const middle = below ? 50 : 0;
  return h(
    "ul",
    { class: "bars" },
    rows.map((row) => {
      const size = (Math.abs(row.value) / most) * (below ? 50 : 100);
      const start = row.value < 0 ? middle - size : middle;
      return h(
        "li",
        {},
        h("span", { class: "bar-name" }, row.name),
        h("span", { class: "bar-track", "aria-hidden": "true" },
          h("span", { class: `bar ${row.value < 0 ? "loss" : "gain"}`, vars: { "--from": `${start}%`, "--size": `${size}%` } }),
          below && h("span", { class: "bar-zero", vars: { "--from": `${middle}%` } })),
        h("span", { class: `bar-value ${row.value < 0 ? "bad" : ""}`, "data-lever": row.key, "data-value": row.value }, format(row.value)),
      );
    }),
  );
}

// One bar of parts, with a legend that carries the figures.
export function partsBar(name, parts, format = count) {
  const whole = parts.reduce((sum, part) => sum + part.value, 0) || 1;
  return h(
    "div",
    {},
    h("div", { class: "parts", role: "img", "aria-label": name },
      parts.filter((p) => p.value > 0).map((part) => h("span", { class: `part ${part.colour}`, title: `${part.name}: ${format(part.value)}`, vars: { "--share": (part.value / whole).toFixed(5) } }))),
    legend(parts.map((part) => ({ ...part, text: `${format(part.value)} · ${Math.round((100 * part.value) / whole)}%` }))),
  );
}

export function legend(entries) {
  return h(
    "ul",
    { class: "legend" },
    entries.map((entry) =>
      h("li", {}, h("span", { class: `swatch ${entry.colour}`, "aria-hidden": "true" }), h("span", {}, entry.name), entry.text && h("span", { class: "figures", "data-name": entry.name, "data-value": entry.value }, entry.text)),
    ),
  );
}
