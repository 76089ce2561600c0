// The overview: key figures, where the money goes, what was saved, what fires.

import { COMPONENTS, FINISHED } from "./book.js";
import { divergingBars, legend, partsBar, stackedColumns } from "./charts.js";
import { figure, h, table } from "./dom.js";
import { count, day, exactUsd, grouped, hour, moment, percent, plural, usd } from "./format.js";

export const LEVERS = {
  saved_prompt_cache: "Prompt cache",
  saved_routing: "Cheaper tier",
  saved_semantic_cache: "Semantic cache",
  saved_pruning: "Shorter observations",
  saved_provisioning: "Fewer tools offered",
  saved_summary: "Summaries",
  saved_batch: "Batch",
};
export const COMPONENT_NAMES = {
  system: "system", tools: "tool definitions", summary: "summary", history: "history",
  observations: "observations", user: "user", output: "output", other: "not counted apart",
};

export function keyFigures(book, mask, sums) {
  const outcomes = book.outcomes(mask);
  const tasks = Object.values(outcomes).reduce((a, b) => a + b, 0);
  const resolved = [...FINISHED].reduce((sum, name) => sum + (outcomes[name] ?? 0), 0);
  const ended = tasks - (outcomes.running ?? 0);
  const tiles = [
    { key: "spend", name: "Spent", text: usd(sums.nusd), value: sums.nusd, note: `${plural(sums.calls, "call")} in ${plural(tasks, "task")}`, title: exactUsd(sums.nusd) },
    { key: "per-task", name: "Per task", text: tasks ? usd(sums.nusd / tasks) : "–", value: tasks ? sums.nusd / tasks : 0, note: "mean of all" },
    { key: "per-resolved", name: "Per answer", text: resolved ? usd(sums.nusd / resolved) : "–", value: resolved ? sums.nusd / resolved : 0, note: "failures paid too" },
    { key: "answered", name: "Answered", text: percent(resolved, ended), value: resolved, note: `${grouped(outcomes.landed ?? 0, 0)} landed, ${grouped((outcomes.exhausted ?? 0) + (outcomes.failed ?? 0), 0)} without` },
    { key: "cached", name: "Cached input", text: percent(sums.cached, sums.input), value: sums.cached, note: `of ${count(sums.input)} tokens` },
    { key: "escalated", name: "Escalated calls", text: percent(sums.escalations, sums.calls), value: sums.escalations, note: plural(sums.escalations, "call") },
  ];
  if (sums.unconfirmed > 0) {
    tiles.push({ key: "unconfirmed", name: "Unconfirmed", text: usd(sums.unconfirmed), value: sums.unconfirmed, note: "worst cases, no usage came", warn: true });
  }
  if (sums.unknown > 0) {
    tiles.push({ key: "unknown", name: "Unknown price", text: plural(sums.unknown, "call"), value: sums.unknown, note: "not in any sum", warn: true });
  }
  return h(
    "dl",
    { class: "key-figures", "aria-label": "Key figures" },
    tiles.map((tile) =>
      h("div", { class: `tile ${tile.warn ? "warn" : ""}` }, h("dt", {}, tile.name),
        h("dd", { class: "big", "data-figure": tile.key, "data-value": tile.value, title: tile.title }, tile.text),
        h("dd", { class: "note" }, tile.note)),
    ),
  );
}

export function spending(book, cells, colours) {
  const { from, width, length, models } = book.overTime(cells);
  const order = [...models.keys()].sort((a, b) => colours[a] - colours[b]);
  const at = (n) => from + n * width;
  const label = (n) => (width < 86400 ? hour(at(n)) : day(at(n)));
  const columns = Array.from({ length }, (_, n) => ({
    label: label(n),
    title: width < 86400 ? moment(at(n)) : day(at(n)),
    parts: order.map((model) => ({ name: book.names.model[model], value: models.get(model)[n], colour: `m${colours[model]}` })),
  }));
  const every = { 3600: "hour", 86400: "day", 604800: "week" }[width];
  const name = `Spending by ${every}`;
  if (!length) return figure(name, null, nothing("No task fits these filters."), null, { class: "wide" });
  const sums = (n) => order.reduce((sum, model) => sum + models.get(model)[n], 0);
  const rows = columns.map((column, n) => [column.title, { text: usd(sums(n)), value: sums(n) }, ...order.map((model) => usd(models.get(model)[n]))]);
  return figure(
    name,
    "By the start of the task, in UTC.",
    h("div", {}, stackedColumns({ name: `${name}, in parts by model`, columns }),
      legend(order.map((model) => ({ name: book.names.model[model], colour: `m${colours[model]}` })))),
    table(name, ["from", "all", ...order.map((model) => book.names.model[model])], rows, { id: "spending-table" }),
    { class: "wide" },
  );
}

const MOST_ROWS = 12;
const MOST_MODELS = 5;

export function whereItGoes(book, cells, tag, pickers) {
  const { rows, models } = book.matrix(cells, tag);
  const title = "Where the money goes";
  if (!rows.length) return figure(title, null, nothing("Nothing was spent here."), null, { beside: pickers });
  const shown = models.slice(0, MOST_MODELS);
  const rest = models.slice(MOST_MODELS);
  const most = Math.max(1, ...rows.flatMap((row) => shown.map(([model]) => row.byModel.get(model) ?? 0)));
  const whole = rows.reduce((sum, row) => sum + row.total, 0);
  const line = (row) => [
    row.name,
    { text: usd(row.total), value: row.total, title: exactUsd(row.total) },
    { text: percent(row.total, whole), value: row.total / (whole || 1) },
    ...shown.map(([model]) => heat(row.byModel.get(model) ?? 0, most)),
    ...(rest.length ? [heat(rest.reduce((sum, [model]) => sum + (row.byModel.get(model) ?? 0), 0), most)] : []),
  ];
  const head = [tag, "all", "share", ...shown.map(([model]) => book.names.model[model]), ...(rest.length ? [`${rest.length} more`] : [])];
  const lines = rows.slice(0, MOST_ROWS).map(line);
  const dropped = rows.slice(MOST_ROWS);
  if (dropped.length) {
    const sum = { name: `${dropped.length} more`, total: 0, byModel: new Map() };
    for (const row of dropped) {
      sum.total += row.total;
      for (const [model, nusd] of row.byModel) sum.byModel.set(model, (sum.byModel.get(model) ?? 0) + nusd);
    }
    lines.push(line(sum));
  }
  return figure(title, null, table(`${title}: ${tag} by model`, head, lines, { class: "heat", id: "where-table" }), null, { beside: pickers, class: "wide" });
}

function heat(value, most) {
  const share = value > 0 ? 0.07 + 0.5 * Math.sqrt(value / most) : 0;
  return { value, node: h("span", { class: "warmth", vars: { "--warmth": share.toFixed(3) } }, value ? usd(value) : "·") };
}

export function savings(book, sums) {
  const title = "Saved by lever";
  const rows = book.levers
    .map((key) => ({ key: key.slice(6), name: LEVERS[key] ?? key.slice(6), value: sums[key] }))
    .filter((row) => row.value !== 0)
    .sort((a, b) => b.value - a.value);
  if (!rows.length) {
    return figure(title, null, nothing(withCommands("No lever changed what a call cost. `agentkit advise` says which would.")), null);
  }
  const note = "What the same calls would have been billed without it, less what they were. Each lever on its own: they do not add up.";
  return figure(title, note, divergingBars(rows), table(title, ["lever", "saved"], rows.map((row) => [row.name, { text: usd(row.value), value: row.value }])));
}

export function composition(sums) {
  const title = "What input is made of";
  const parts = COMPONENTS.map((name, n) => ({ name: COMPONENT_NAMES[name], value: sums[name], colour: `k${n}` }));
  const counted = parts.reduce((sum, part) => sum + part.value, 0);
  if (!counted) return figure(title, null, nothing("These calls were recorded without their parts."), null);
  return figure(title, "In tokens of our own count, before each call.", partsBar(title, parts), null);
}

export function alerts(book) {
  const title = "Alerts";
  const found = book.facts.alerts;
  if (!found) return null;
  const firing = found.filter((alert) => alert.firing);
  const rules = new Set(found.map((alert) => alert.rule)).size;
  if (!firing.length) return h("p", { class: "quiet", id: "quiet" }, `All ${rules} alert rules are quiet.`);
  return figure(
    title,
    `${new Set(firing.map((alert) => alert.rule)).size} of ${plural(rules, "rule")} firing now, over the whole ledger.`,
    h("ul", { class: "alerts" }, firing.map((alert) =>
      h("li", { "data-rule": alert.rule, class: alert.severity },
        h("strong", {}, alert.rule.replaceAll("_", " "), alert.which && h("span", { class: "which" }, alert.which)),
        h("span", { class: "alert-figures" }, alert.text), h("p", {}, withCommands(alert.advice)),
        alert.tasks?.length > 0 && h("p", { class: "alert-tasks" }, "Tasks: ", alert.tasks.slice(0, 3).map((id, n) => [n ? ", " : "", h("a", { href: `#task=${encodeURIComponent(id)}` }, id)]))))),
    null,
    { class: "attention full" },
  );
}

// What stands between backquotes is something to type.
function withCommands(text) {
  return text.split("`").map((part, n) => (n % 2 ? h("code", {}, part) : part));
}

export function nothing(text) {
  return h("p", { class: "nothing" }, text);
}
