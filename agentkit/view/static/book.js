// The ledger's figures in columns: one row a task, and one cell for each model that a task called.
// Everything on the overview is a sum over the cells of the tasks that the filters take.

export const MEASURES = [
  "calls", "nusd", "unconfirmed", "unknown", "input", "cached", "written", "output", "escalations",
];
export const COMPONENTS = ["system", "tools", "summary", "history", "observations", "user"];
export const FINISHED = new Set(["resolved", "answered"]);

export class Book {
  constructor(data) {
    this.take(data);
  }

  take(data) {
    this.facts = data;
    this.names = data.names;
    this.tags = data.tags;
    this.tasks = data.tasks;
    this.cells = data.cells;
    this.size = data.tasks.id.length;
    this.levers = Object.keys(data.cells).filter((name) => name.startsWith("saved_"));
    this.sums = this.sumByTask();
    this.haystack = null;
  }

  // Cost, calls, tokens of each task, for the list and its order.
  sumByTask() {
    const sums = {};
    for (const name of ["nusd", "calls", "input", "cached", "output", "escalations"]) {
      const column = new Float64Array(this.size);
      const values = this.cells[name];
      const task = this.cells.task;
      for (let n = 0; n < values.length; n++) column[task[n]] += values[n];
      sums[name] = column;
    }
    return sums;
  }

  outcome(task) {
    return this.names.outcome[this.tasks.outcome[task]] || "running";
  }

  scope(task) {
    return this.names.scope[this.tasks.scope[task]];
  }

  tag(name, task) {
    const at = this.tasks.tags[name]?.[task] ?? -1;
    return at < 0 ? "" : this.names[`tag:${name}`][at];
  }

  // What a search looks through, made once: id, scope and tags in lower case.
  searchable() {
    if (this.haystack) return this.haystack;
    const columns = this.tags.map((name) => [this.tasks.tags[name], this.names[`tag:${name}`].map((t) => t.toLowerCase())]);
    const scopes = this.names.scope.map((text) => text.toLowerCase());
    const outcomes = this.names.outcome.map((text) => text || "running");
    this.haystack = this.tasks.id.map((id, n) => {
      let text = `${id.toLowerCase()} ${scopes[this.tasks.scope[n]]} ${outcomes[this.tasks.outcome[n]]}`;
      for (const [column, texts] of columns) if (column[n] >= 0) text += ` ${texts[column[n]]}`;
      return text;
    });
    return this.haystack;
  }

  // 1 for each task that the filters take. `filters`: {text, since, outcome, model, scope, tags}.
  mask(filters) {
    const mask = new Uint8Array(this.size).fill(1);
    const drop = (test) => {
      for (let n = 0; n < this.size; n++) if (mask[n] && test(n)) mask[n] = 0;
    };
    if (filters.since) drop((n) => this.tasks.at[n] < filters.since);
    if (filters.outcome) {
      const wanted = this.names.outcome.indexOf(filters.outcome === "running" ? "" : filters.outcome);
      drop((n) => this.tasks.outcome[n] !== wanted);
    }
    for (const [name, value] of Object.entries(filters.tags ?? {})) {
      const column = this.tasks.tags[name] ?? [];
      const wanted = (this.names[`tag:${name}`] ?? []).indexOf(value);
      drop((n) => column[n] !== wanted || wanted < 0);
    }
    if (filters.model) {
      const has = new Uint8Array(this.size);
      const wanted = this.names.model.indexOf(filters.model);
      this.cells.model.forEach((model, n) => {
        if (model === wanted) has[this.cells.task[n]] = 1;
      });
      drop((n) => !has[n]);
    }
    const words = (filters.text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length) {
      const texts = this.searchable();
      drop((n) => !words.every((word) => texts[n].includes(word)));
    }
    return mask;
  }

  // Sums of all measures over the tasks in `mask`.
  total(mask) {
    const sums = {};
    for (const name of [...MEASURES, ...COMPONENTS, ...this.levers]) {
      const values = this.cells[name];
      let sum = 0;
      if (values) for (let n = 0; n < values.length; n++) if (mask[this.cells.task[n]]) sum += values[n];
      sums[name] = sum;
    }
    return sums;
  }

  // {outcome: number of tasks}
  outcomes(mask) {
    const found = {};
    for (let n = 0; n < this.size; n++) {
      if (mask[n]) found[this.outcome(n)] = (found[this.outcome(n)] ?? 0) + 1;
    }
    return found;
  }

  // Cost in buckets of `width` seconds, by model: {from, width, models: Map(model index, Float64Array)}
  overTime(mask) {
    let first = Infinity;
    let last = -Infinity;
    for (let n = 0; n < this.size; n++) {
      if (!mask[n]) continue;
      first = Math.min(first, this.tasks.at[n]);
      last = Math.max(last, this.tasks.at[n]);
    }
    if (first > last) return { from: 0, width: 86400, length: 0, models: new Map() };
    const span = last - first;
    const width = span <= 2 * 86400 ? 3600 : span <= 120 * 86400 ? 86400 : 7 * 86400;
    const from = Math.floor(first / width) * width;
    const length = Math.floor((last - from) / width) + 1;
    const models = new Map();
    const { task, model, nusd } = this.cells;
    for (let n = 0; n < task.length; n++) {
      if (!mask[task[n]]) continue;
      let row = models.get(model[n]);
      if (!row) models.set(model[n], (row = new Float64Array(length)));
      row[Math.floor((this.tasks.at[task[n]] - from) / width)] += nusd[n];
    }
    return { from, width, length, models };
  }

  // Cost by a tag's value and model: {rows: [{name, total, byModel: Map}], models: [index by cost]}
  matrix(mask, tag) {
    const rows = new Map();
    const models = new Map();
    const { task, model, nusd } = this.cells;
    const column = tag === "scope" ? this.tasks.scope : (this.tasks.tags[tag] ?? []);
    const names = tag === "scope" ? this.names.scope : (this.names[`tag:${tag}`] ?? []);
    for (let n = 0; n < task.length; n++) {
      if (!mask[task[n]]) continue;
      const key = column[task[n]] ?? -1;
      let row = rows.get(key);
      if (!row) rows.set(key, (row = { name: key < 0 ? "(no tag)" : names[key], known: key >= 0, total: 0, byModel: new Map() }));
      row.total += nusd[n];
      row.byModel.set(model[n], (row.byModel.get(model[n]) ?? 0) + nusd[n]);
      models.set(model[n], (models.get(model[n]) ?? 0) + nusd[n]);
    }
    const byCost = [...models].sort((a, b) => b[1] - a[1]);
    return { rows: [...rows.values()].sort((a, b) => b.total - a.total), models: byCost };
  }

  // The models by what they cost over all tasks: their colours stay whatever the filters say.
  colours() {
    const sums = new Float64Array(this.names.model.length);
    this.cells.model.forEach((model, n) => (sums[model] += this.cells.nusd[n]));
    const order = [...sums.keys()].sort((a, b) => sums[b] - sums[a]);
    const found = new Int8Array(sums.length);
    order.forEach((model, rank) => (found[model] = Math.min(rank, 7)));
    return found;
  }
}
