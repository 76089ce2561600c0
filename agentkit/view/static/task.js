// One task: what it cost, step by step, against its limits, and why.

import { burnDown, legend, roomFor, stackedColumns } from "./charts.js";
import { figure, h, replace, table } from "./dom.js";
import { axisUsd, count, exactUsd, grouped, moment, percent, plural, seconds, usd } from "./format.js";
import { COMPONENT_NAMES, nothing } from "./overview.js";
import { bundled, cameTo, extendedBy, limitsOf, marksOf, modelOf, partsOf, stepsOf } from "./story.js";
import { chip } from "./tasks.js";

const MOST_COLUMNS = 240;
const MOST_ROWS_OF_CALLS = 2000;

export function taskView({ task, calls, events, texts }) {
  const ordered = [...calls].sort((a, b) => a.index - b.index);
  const steps = stepsOf(ordered);
  return h(
    "div",
    { class: "task-view" },
    heading(task, ordered),
    h("div", { class: "grid" },
      timeline(steps),
      burning(task, ordered, events),
      callTable(ordered),
      eventList(events, task),
      textPanel(texts, steps)),
  );
}

export function costOf(task, calls) {
  return calls.length ? calls.reduce((sum, call) => sum + call.cost_nusd, 0) : task.cost_nusd;
}

function heading(task, calls) {
  const cost = costOf(task, calls);
  const limit = task.budget?.usd ? Math.round(Number(task.budget.usd) * 1e9) + (extendedBy(task).nusd ?? 0) : null;
  const unknown = calls.filter((call) => call.cost_source === "unknown" && call.status !== "rejected").length;
  const input = calls.reduce((sum, call) => sum + call.usage.input_tokens, 0);
  const cached = calls.reduce((sum, call) => sum + call.usage.cache_read_tokens, 0);
  const output = calls.reduce((sum, call) => sum + call.usage.output_tokens, 0);
  const tags = Object.entries(task.tags ?? {});
  const facts = [
    ["Calls", grouped(calls.length, 0)],
    ["Steps", grouped(task.steps || new Set(calls.map((c) => c.step)).size, 0)],
    ["Escalations", grouped(calls.filter((call) => call.escalation).length, 0)],
    ["Input", `${count(input)} (${percent(cached, input)} cached)`],
    ["Output", count(output)],
    ["Took", task.ended_at ? seconds(task.ended_at - task.started_at) : "still running"],
    ["Started", `${moment(task.started_at)} UTC`],
  ];
  return h(
    "header",
    { class: "task-head" },
    h("a", { class: "back", href: "#" }, "← All tasks"),
    h("h1", { tabindex: -1, id: "view-title" }, h("span", { class: "mono" }, task.task_id), chip(task.outcome ?? "running")),
    h("p", { class: "cost-line" },
      h("span", { class: "big", "data-figure": "task-cost", "data-value": cost, title: exactUsd(cost) }, usd(cost)),
      limit ? h("span", { class: "note" }, `of ${axisUsd(limit)} (${percent(cost, limit)})`) : h("span", { class: "note" }, "no limit in money"),
      unknown > 0 && h("span", { class: "note bad" }, `and ${plural(unknown, "call")} at prices nobody knows`),
      task.subtasks_nusd > 0 && h("span", { class: "note" }, `and ${usd(task.subtasks_nusd)} in subtasks`),
      task.unconfirmed_nusd > 0 && h("span", { class: "note bad" }, `${usd(task.unconfirmed_nusd)} of it is a worst case`)),
    limit && h("div", { class: "meter", role: "img", "aria-label": `${percent(cost, limit)} of the limit` }, h("span", { class: cost > limit ? "over" : "", vars: { "--share": Math.min(1, cost / limit).toFixed(4) } })),
    task.parent_id && h("p", { class: "note" }, "Subtask of ", h("a", { href: `#task=${encodeURIComponent(task.parent_id)}`, class: "mono" }, task.parent_id)),
    task.reason && h("p", { class: "reason" }, ofThisTask(task.reason, task)),
    h("dl", { class: "facts" }, facts.map(([name, text]) => h("div", {}, h("dt", {}, name), h("dd", {}, text)))),
    h("p", { class: "labels" }, h("span", { class: "scope" }, task.scope), tags.map(([name, value]) => h("span", { class: "tag" }, `${name}=${value}`))),
  );
}

function timeline(steps) {
  const title = "Tokens by step";
  if (!steps.length) return figure(title, null, nothing("No call has been settled yet."), null, { class: "wide" });
  const used = new Set(steps.flatMap((step) => partsOf(step).filter((part) => part.value).map((part) => part.name)));
  const drawn = bundled(steps, MOST_COLUMNS);
  const columns = drawn.map((step) => ({
    label: step.label,
    title: `step ${step.label}: ${usd(step.nusd)}, ${[...new Set(step.calls.map(modelOf))].join(", ")}`,
    parts: partsOf(step).map((part) => ({ ...part, name: COMPONENT_NAMES[part.name] })),
    marks: step.marks,
  }));
  const shown = partsOf(steps[0]).filter((part) => used.has(part.name));
  const rows = steps.map((step) => {
    const values = Object.fromEntries(partsOf(step).map((part) => [part.name, part.value]));
    return [String(step.number), { text: usd(step.nusd), value: step.nusd }, ...shown.map((part) => ({ text: count(values[part.name]), value: values[part.name] })), step.marks.map((mark) => mark.text).join("; ")];
  });
  return figure(
    title,
    "What was sent, by our own count, and what came back. ▲ marks a step that went to a dearer model, ◆ the landing.",
    h("div", {}, stackedColumns({ name: `${title}, in parts by component`, columns, format: count, width: roomFor(12), every: Math.max(1, Math.ceil(drawn.length / (roomFor(12) / (drawn.length < steps.length ? 90 : 30)))) }),
      legend(shown.map((part) => ({ name: COMPONENT_NAMES[part.name], colour: part.colour }))),
      escalations(steps)),
    table(title, ["step", "cost", ...shown.map((part) => COMPONENT_NAMES[part.name]), "marks"], rows, { id: "steps-table", right: [false, true, ...shown.map(() => true), false] }),
    { class: "wide" },
  );
}

function escalations(steps) {
  const marks = steps.flatMap((step) => step.marks);
  if (!marks.length) return null;
  return h("ol", { class: "marks" }, marks.map((mark) => h("li", { class: mark.kind }, mark.text)));
}

// A task's own path is its scope and a long id.
function ofThisTask(text, task) {
  return text.replaceAll(`${task.scope}/~${task.task_id}`, "this task");
}

function burning(task, calls, events) {
  const title = "What was left of the budget";
  const limits = limitsOf(task, calls, events);
  if (!limits.length) return figure(title, null, nothing("This task had no limit in money, tokens or calls."), null, { class: "wide" });
  const place = h("div");
  const buttons = h("div", { class: "segments", role: "group", "aria-label": "Limit" });
  const choose = (chosen) => {
    replace(buttons, limits.map((limit) => h("button", { type: "button", "aria-pressed": String(limit === chosen), onclick: () => choose(limit) }, limit.name)));
    const rows = chosen.left.map((left, n) => [n === 0 ? "start" : `call ${n}`, { text: chosen.format(left), value: left }, percent(chosen.limit - left, chosen.limit)]);
    replace(place, [
      burnDown({ name: `${chosen.name} left after each call, of ${chosen.format(chosen.limit)}`, ...chosen, marks: marksOf(calls) }),
      h("details", { class: "behind" }, h("summary", {}, "Show as a table"), table(title, ["after", "left", "spent"], rows, { id: "burn-table" })),
    ]);
  };
  // The one that binds first: the least is left of it.
  const leftOf = (limit) => Math.min(...limit.left) / limit.limit;
  choose(limits.reduce((tightest, limit) => (leftOf(limit) < leftOf(tightest) ? limit : tightest)));
  return figure(title, "After each call, in the order of their start.", place, null, { class: "wide", beside: limits.length > 1 ? buttons : null });
}

function callTable(calls) {
  const head = ["#", "step", "model", "in", "cached", "written", "out", "cost", "took", "sure", "tools", "came to"];
  const right = [false, true, false, true, true, true, true, true, true, true, true, false];
  const rows = calls.slice(0, MOST_ROWS_OF_CALLS).map((call) => {
    const { usage } = call;
    const written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens;
    const unknown = call.cost_source === "unknown";
    return [
      String(call.index),
      String(call.step),
      { node: h("span", {}, modelOf(call), call.tier > 0 && h("span", { class: "tier" }, `tier ${call.tier}`)) },
      { text: count(usage.input_tokens), value: usage.input_tokens },
      usage.cache_read_tokens ? count(usage.cache_read_tokens) : "·",
      written ? count(written) : "·",
      { text: count(usage.output_tokens), value: usage.output_tokens },
      { text: `${call.confirmed ? "" : "≤ "}${unknown ? "$?" : usd(call.cost_nusd)}`, value: call.cost_nusd, title: `${exactUsd(call.cost_nusd)}, source: ${call.cost_source}${call.priced_on ? `, prices of ${call.priced_on}` : ""}` },
      seconds(call.latency_seconds),
      call.confidence === null || call.confidence === undefined ? "·" : call.confidence.toFixed(2),
      { text: `${call.tools_called?.length ?? 0}/${call.tools_offered?.length ?? 0}`, title: (call.tools_offered ?? []).join(", ") },
      { node: h("span", { class: call.status !== "ok" || call.accepted === false ? "bad" : "" }, cameTo(call)) },
    ];
  });
  const note = rows.length < calls.length ? `The first ${grouped(rows.length, 0)} of ${grouped(calls.length, 0)}; agentkit show prints all.` : null;
  return figure("Calls", note, rows.length ? table("Calls", head, rows, { id: "calls-table", right }) : nothing("None yet."), null, { class: "wide" });
}

function eventList(events, task) {
  if (!events.length) return null;
  return figure("Events", null, h("ol", { class: "events" }, events.map((event) =>
    h("li", {}, h("span", { class: "note" }, event.step ? `step ${event.step}` : moment(event.at)), h("span", {}, ofThisTask(event.text, task))))), null, { class: "wide" });
}

function textPanel(texts, steps) {
  const numbers = Object.keys(texts ?? {}).map(Number).sort((a, b) => a - b);
  if (!numbers.length) return null;
  const cost = new Map(steps.map((step) => [step.number, usd(step.nusd)]));
  const name = (number) => (number === 0 ? "asked" : `step ${number}${cost.has(number) ? `, ${cost.get(number)}` : ""}`);
  return figure("What was said", "From the checkpoint that this task left, because the page was opened with --contents.", h("div", { class: "texts", id: "texts" }, numbers.map((number) =>
    h("details", { class: "text" }, h("summary", {}, name(number)), texts[number].map((part) => h("div", { class: "said" }, h("span", { class: "note" }, part.role), h("pre", {}, part.text)))))), null, { class: "wide" });
}
