// Two tasks side by side: the same scale for both, and the differences in figures.

import { legend, roomFor, stackedColumns } from "./charts.js";
import { figure, h, table } from "./dom.js";
import { count, exactUsd, grouped, seconds, usd } from "./format.js";
import { COMPONENT_NAMES } from "./overview.js";
import { modelOf, partsOf, stepsOf } from "./story.js";
import { costOf } from "./task.js";
import { chip } from "./tasks.js";

export function compareView(a, b) {
  const [left, right] = [a, b].map((side) => ({ ...side, steps: stepsOf([...side.calls].sort((x, y) => x.index - y.index)) }));
  return h(
    "div",
    { class: "compare-view" },
    h("header", { class: "task-head" },
      h("a", { class: "back", href: "#" }, "← All tasks"),
      h("h1", { tabindex: -1, id: "view-title" }, "Two tasks compared")),
    h("div", { class: "grid" }, differences(left, right), byStep(left, right), byModel(left, right)),
  );
}

function linked(side) {
  return h("span", {}, h("a", { href: `#task=${encodeURIComponent(side.task.task_id)}`, class: "mono" }, side.task.task_id), " ", chip(side.task.outcome ?? "running"));
}

function sum(side, read) {
  return side.calls.reduce((total, call) => total + read(call), 0);
}

function differences(left, right) {
  const measures = [
    ["cost", (side) => costOf(side.task, side.calls), usd],
    ["calls", (side) => side.calls.length, (v) => grouped(v, 0)],
    ["steps", (side) => side.steps.length, (v) => grouped(v, 0)],
    ["escalations", (side) => side.calls.filter((call) => call.escalation).length, (v) => grouped(v, 0)],
    ["input tokens", (side) => sum(side, (call) => call.usage.input_tokens), count],
    ["of them cached", (side) => sum(side, (call) => call.usage.cache_read_tokens), count],
    ["output tokens", (side) => sum(side, (call) => call.usage.output_tokens), count],
    ["tools offered a call", (side) => sum(side, (call) => call.tools_offered?.length ?? 0) / (side.calls.length || 1), (v) => v.toFixed(1)],
    ["seconds", (side) => (side.task.ended_at ?? side.task.started_at) - side.task.started_at, seconds],
  ];
  const rows = measures.map(([label, read, format]) => {
    const [x, y] = [read(left), read(right)];
    const cell = (value) => ({ text: format(value), value, title: label === "cost" ? exactUsd(value) : null });
    return [label, cell(x), cell(y), { node: h("span", { class: x === y ? "note" : y > x === (label === "of them cached") ? "good" : "bad" }, change(x, y, format)), value: y - x }];
  });
  return figure("What differs", "The second against the first.", table("What differs", ["", linked(left), linked(right), "difference"], rows, { id: "compare-table" }), null, { class: "wide" });
}

function change(x, y, format) {
  if (x === y) return "same";
  const sign = y > x ? "+" : "−";
  const share = x > 0 ? ` (${sign}${Math.round((100 * Math.abs(y - x)) / x)}%)` : "";
  return `${sign}${format(Math.abs(y - x))}${share}`;
}

function byStep(left, right) {
  const most = Math.max(...[left, right].flatMap((side) => side.steps.map((step) => partsOf(step).reduce((total, part) => total + part.value, 0))), 1);
  const length = Math.max(left.steps.length, right.steps.length);
  const columns = (side) =>
    Array.from({ length }, (_, n) => {
      const step = side.steps[n];
      const parts = step ? partsOf(step).map((part) => ({ ...part, name: COMPONENT_NAMES[part.name] })) : [];
      const taken = parts.reduce((total, part) => total + part.value, 0);
      return { label: step ? String(step.number) : "", parts, marks: step?.marks ?? [], title: `step ${step?.number ?? "–"}: ${count(taken)} tokens, ${usd(step?.nusd ?? 0)}` };
    });
  const draw = (side) => h("div", { class: "half" }, h("p", { class: "note" }, side.task.task_id), stackedColumns({ name: `Tokens by step of ${side.task.task_id}`, columns: scaled(columns(side), most), format: count, height: 170, width: roomFor(12) }));
  const names = new Set([...left.steps, ...right.steps].flatMap((step) => partsOf(step).filter((part) => part.value).map((part) => part.name)));
  const shown = left.steps.length || right.steps.length ? partsOf((left.steps[0] ?? right.steps[0])).filter((part) => names.has(part.name)) : [];
  return figure("Tokens by step", "Both to the same scale.", h("div", {}, draw(left), draw(right), legend(shown.map((part) => ({ name: COMPONENT_NAMES[part.name], colour: part.colour })))), null, { class: "wide" });
}

// An unseen column as high as the highest of both keeps the two drawings to one scale.
function scaled(columns, most) {
  return columns.map((column, n) => (n ? column : { ...column, parts: [...column.parts, { name: "", value: Math.max(0, most - column.parts.reduce((t, p) => t + p.value, 0)), colour: "unseen-part" }] }));
}

function byModel(left, right) {
  const cost = (side) => {
    const found = new Map();
    for (const call of side.calls) found.set(modelOf(call), (found.get(modelOf(call)) ?? 0) + call.cost_nusd);
    return found;
  };
  const [x, y] = [cost(left), cost(right)];
  const models = [...new Set([...x.keys(), ...y.keys()])].sort((m, n) => (y.get(n) ?? 0) + (x.get(n) ?? 0) - (y.get(m) ?? 0) - (x.get(m) ?? 0));
  const rows = models.map((model) => [model, usd(x.get(model) ?? 0), usd(y.get(model) ?? 0)]);
  return figure("Cost by model", null, table("Cost by model", ["model", left.task.task_id, right.task.task_id], rows), null, { class: "wide" });
}
