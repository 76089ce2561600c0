// One task's records turned into what the drawings and tables show.

import { COMPONENTS } from "./book.js";
import { usd, count, grouped } from "./format.js";

// By step: tokens by component, cost, the calls, and why a dearer tier was asked.
export function stepsOf(calls) {
  const steps = new Map();
  for (const call of calls) {
    let step = steps.get(call.step);
    if (!step) {
      step = { number: call.step, calls: [], tokens: {}, nusd: 0, output: 0, marks: [] };
      steps.set(call.step, step);
    }
    step.calls.push(call);
    step.nusd += call.cost_nusd;
    step.output += call.usage.output_tokens;
    const parts = Object.keys(call.components ?? {}).length ? call.components : { other: call.usage.input_tokens };
    for (const [name, tokens] of Object.entries(parts)) {
      if (name !== "output") step.tokens[name] = (step.tokens[name] ?? 0) + tokens;
    }
    if (call.escalation) step.marks.push({ kind: "up", text: `step ${call.step}: to ${modelOf(call)}: ${call.escalation}` });
    if (call.purpose === "landing") step.marks.push({ kind: "land", text: `step ${call.step}: landing` });
  }
  return [...steps.values()].sort((a, b) => a.number - b.number);
}

// At most `most` steps to draw: neighbours are put together where there are more.
export function bundled(steps, most) {
  const size = Math.ceil(steps.length / most);
  if (size <= 1) return steps.map((step) => ({ ...step, label: String(step.number) }));
  const found = [];
  for (let n = 0; n < steps.length; n += size) {
    const group = steps.slice(n, n + size);
    const tokens = {};
    for (const step of group) for (const [name, value] of Object.entries(step.tokens)) tokens[name] = (tokens[name] ?? 0) + value;
    found.push({
      number: group[0].number,
      label: `${group[0].number}–${group.at(-1).number}`,
      calls: group.flatMap((step) => step.calls),
      tokens,
      nusd: group.reduce((sum, step) => sum + step.nusd, 0),
      output: group.reduce((sum, step) => sum + step.output, 0),
      marks: group.flatMap((step) => step.marks).slice(0, 3),
    });
  }
  return found;
}

export function partsOf(step) {
  const parts = [...COMPONENTS, "other"]
    .map((name, n) => ({ name, value: step.tokens[name] ?? 0, colour: name === "other" ? "k7" : `k${n}` }));
  parts.push({ name: "output", value: step.output, colour: "k6" });
  return parts;
}

export function modelOf(call) {
  return call.provider ? `${call.provider}:${call.model}` : call.model;
}

// The limits of a task that can be drawn: what is left after each of its calls, in order.
export function limitsOf(task, calls, events) {
  const budget = task.budget ?? {};
  const more = extendedBy(task);
  const found = [];
  const add = (name, dimension, limit, spent, format) => {
    if (limit === null || limit === undefined || !(limit > 0)) return;
    const left = [limit];
    for (const call of calls) left.push(left[left.length - 1] - spent(call));
    found.push({ name, dimension, limit, left, format, levels: levelsOf(budget, limit), reserve: reserveOf(task, events, dimension) });
  };
  const usdLimit = budget.usd === undefined || budget.usd === null ? null : Math.round(Number(budget.usd) * 1e9) + (more.nusd ?? 0);
  const tokens = (call) => call.usage.input_tokens + call.usage.output_tokens - (budget.count_cached === false ? call.usage.cache_read_tokens : 0);
  add("Money", "nusd", usdLimit, (call) => call.cost_nusd, usd);
  add("Tokens", "tokens", withMore(budget.tokens, more.tokens), tokens, count);
  add("Calls", "calls", withMore(budget.calls, more.calls), () => 1, (value) => grouped(value, value % 1 ? 1 : 0));
  return found;
}

// What the limits were raised by, over all extensions.
export function extendedBy(task) {
  const sums = {};
  for (const amounts of Object.values(task.extensions ?? {})) {
    for (const [name, amount] of Object.entries(amounts)) sums[name] = (sums[name] ?? 0) + Number(amount);
  }
  return sums;
}

function withMore(limit, more) {
  return limit === null || limit === undefined ? null : Number(limit) + (more ?? 0);
}

function levelsOf(budget, limit) {
  const fractions = budget.thresholds ?? [0.5, 0.8];
  return fractions.filter((f) => f > 0 && f < 1).map((f) => ({ left: limit * (1 - f), text: `${Math.round(f * 100)}% spent` }));
}

// What was kept for the landing: the task's record says it, else what was held when it landed.
function reserveOf(task, events, dimension) {
  const kept = task.landing?.[dimension];
  if (kept) return kept;
  const told = events.find((event) => event.kind === "budget_landing" && event.data?.dimension === dimension);
  return told?.data.held ?? 0;
}

export function marksOf(calls) {
  const marks = [];
  calls.forEach((call, n) => {
    if (call.escalation) marks.push({ at: n + 1, kind: "up", text: `call ${n + 1}, step ${call.step}: to ${modelOf(call)}: ${call.escalation}` });
    if (call.purpose === "landing") marks.push({ at: n + 1, kind: "land", text: `call ${n + 1}: landing` });
  });
  return marks;
}

// What became of a call, in words.
export function cameTo(call) {
  const said = [];
  if (call.status !== "ok") said.push(`${call.status}${call.error ? `: ${call.error}` : ""}`);
  else if (call.accepted === false) said.push(`not accepted: ${call.reason ?? ""}`);
  else if (call.tools_called?.length) said.push(`calls ${call.tools_called.join(", ")}`);
  else said.push(call.purpose === "landing" ? "landing answer" : "answer");
  if (call.escalation) said.push(`escalated: ${call.escalation}`);
  if (call.cached_by) said.push(`answered by ${call.cached_by}`);
  if (call.attempt > 1) said.push(`try ${call.attempt}`);
  return said.join("; ");
}
