// The ledger's figures in columns: one row a task, and one cell for each model that a task called.
// Everything on the overview is a sum over the cells of the tasks that the filters take.

export const MEASURES = [
  "calls", "nusd", "unconfirmed", "unknown", "input", "cached", "output", "escalations",
];
export const COMPONENTS = ["system", "tools", "summary", "history", "observations", "user"];
export const FINISHED = new Set(["resolved", "answered"]);

const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f8: Float64Array };

// The head and the columns of a body, the columns without a copy.
export function unpacked(buffer) {
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tasks = { id: facts.ids ? facts.ids.split("\n") : [], tags: {} };
  const cells = {};
  for (const [name, [kind, at, size]] of Object.entries(facts.columns)) {
    const column = new ARRAYS[kind](buffer, 8 + length + at, size);
    if (name.startsWith("cell.")) cells[name.slice(5)] = column;
    else if (name.startsWith("tag:")) tasks.tags[name.slice(4)] = column;
    else tasks[name.slice(5)] = column;
  }
  return { facts, tasks, cells };
}

export class Book {
  constructor(buffer) {
    this.take(buffer);
  }

  take(buffer) {
    const { facts, tasks, cells } = unpacked(buffer);
    this.facts = facts;
    this.names = facts.names;
    this.tags = facts.tags;
    this.tasks = tasks;
    this.cells = cells;
    this.size = tasks.id.length;
    this.levers = Object.keys(cells).filter((name) => name.startsWith("saved_"));
    this.sums = this.sumByTask();
    this.orders = new Map();
    this.ranks = null;
    this.idStarts = null;
    this.ids = null;
    // A tag that all tasks share tells them apart by nothing.
    this.telling = this.tags.filter((name) => this.names[`tag:${name}`].length > 1 || this.tasks.tags[name]?.includes(-1));
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

  // The tasks by a column, the highest first where `down`; made once a column.
  order(key, down) {
    const name = `${key} ${down}`;
    if (this.orders.has(name)) return this.orders.get(name);
    const column = this.sums[key] ?? this.tasks[key];
    const found = new Uint32Array(this.size);
    for (let n = 0; n < this.size; n++) found[n] = down ? this.size - 1 - n : n;
    let ordered = true;
    for (let n = 1; n < this.size && ordered; n++) ordered = column[n - 1] <= column[n];
    if (!ordered) found.sort(down ? (a, b) => column[b] - column[a] || b - a : (a, b) => column[a] - column[b] || a - b);
    this.orders.set(name, found);
    return found;
  }

  // 1 for each task whose id, outcome, scope or tags hold `word`: names are looked at once each.
  having(word) {
    const found = new Uint8Array(this.size);
    const columns = [
      [this.tasks.scope, this.names.scope],
      [this.tasks.outcome, this.names.outcome.map((text) => text || "running")],
      ...this.tags.map((name) => [this.tasks.tags[name], this.names[`tag:${name}`]]),
    ];
    for (const [column, names] of columns) {
      const fits = names.map((text) => text.toLowerCase().includes(word));
      if (!fits.includes(true)) continue;
      for (let n = 0; n < this.size; n++) if (fits[column[n]]) found[n] = 1;
    }
    const ids = this.lowered();
    let task = 0;
    for (let at = ids.indexOf(word); at >= 0; at = ids.indexOf(word, at + 1)) {
      task = this.taskAt(at, task);
      found[task] = 1;
    }
    return found;
  }

  // All ids in lower case, unless that would move them: a few letters change their length.
  lowered() {
    if (this.ids) return this.ids;
    const lower = this.facts.ids.toLowerCase();
    this.ids = lower.length === this.facts.ids.length ? lower : this.facts.ids;
    return this.ids;
  }

  // The task whose id stands at this place of all ids, at or after `from`.
  taskAt(place, from) {
    if (!this.idStarts) {
      this.idStarts = new Uint32Array(this.size + 1);
      this.tasks.id.forEach((id, n) => (this.idStarts[n + 1] = this.idStarts[n] + id.length + 1));
    }
    let low = from;
    let high = this.size - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.idStarts[middle] <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // 1 for each task that the filters take. `filters`: {text, since, outcome, model, tags}.
  mask(filters) {
    const mask = new Uint8Array(this.size).fill(1);
    const keep = (column, wanted) => {
      for (let n = 0; n < this.size; n++) if (column[n] !== wanted) mask[n] = 0;
    };
    if (filters.since) {
      const { at } = this.tasks;
      for (let n = 0; n < this.size; n++) if (at[n] < filters.since) mask[n] = 0;
    }
    if (filters.outcome) keep(this.tasks.outcome, this.names.outcome.indexOf(filters.outcome === "running" ? "" : filters.outcome));
    for (const [name, value] of Object.entries(filters.tags ?? {})) {
      const wanted = (this.names[`tag:${name}`] ?? []).indexOf(value);
      if (wanted < 0) mask.fill(0);
      else keep(this.tasks.tags[name], wanted);
    }
    if (filters.model) {
      const has = new Uint8Array(this.size);
      const wanted = this.names.model.indexOf(filters.model);
      const { model, task } = this.cells;
      for (let n = 0; n < task.length; n++) if (model[n] === wanted) has[task[n]] = 1;
      keep(has, 1);
    }
    for (const word of (filters.text ?? "").toLowerCase().split(/\s+/).filter(Boolean)) keepWhere(mask, this.having(word));
    return mask;
  }

  // The cells of the tasks in `mask`, by their place.
  chosen(mask) {
    const { task } = this.cells;
    const found = new Uint32Array(task.length);
    let size = 0;
    for (let n = 0; n < task.length; n++) if (mask[task[n]]) found[size++] = n;
    return found.subarray(0, size);
  }

  // Sums of all measures over those cells.
  total(cells) {
    const sums = {};
    for (const name of [...MEASURES, ...COMPONENTS, ...this.levers]) {
      const values = this.cells[name];
      let sum = 0;
      if (values) for (const n of cells) sum += values[n];
      sums[name] = sum;
    }
    return sums;
  }

  // {outcome: number of tasks}
  outcomes(mask) {
    const counts = new Float64Array(this.names.outcome.length);
    for (let n = 0; n < this.size; n++) counts[this.tasks.outcome[n]] += mask[n];
    return Object.fromEntries(this.names.outcome.map((text, n) => [text || "running", counts[n]]));
  }

  // Cost in buckets of `width` seconds, by model: {from, width, length, models: Map(index, sums)}
  overTime(cells) {
    const { task, model, nusd } = this.cells;
    const { at } = this.tasks;
    let first = Infinity;
    let last = -Infinity;
    for (const n of cells) {
      const began = at[task[n]];
      if (began < first) first = began;
      if (began > last) last = began;
    }
    if (first > last) return { from: 0, width: 86400, length: 0, models: new Map() };
    const span = last - first;
    const width = span <= 2 * 86400 ? 3600 : span <= 120 * 86400 ? 86400 : 7 * 86400;
    const from = Math.floor(first / width) * width;
    const length = Math.floor((last - from) / width) + 1;
    const rows = this.names.model.map(() => null);
    for (const n of cells) {
      const row = (rows[model[n]] ??= new Float64Array(length));
      row[Math.floor((at[task[n]] - from) / width)] += nusd[n];
    }
    return { from, width, length, models: new Map([...rows.entries()].filter(([, row]) => row)) };
  }

  // Cost by a tag's value and model: {rows: [{name, total, byModel: Map}], models: [[index, cost]]}
  matrix(cells, tag) {
    const { task, model, nusd } = this.cells;
    const names = tag === "scope" ? this.names.scope : (this.names[`tag:${tag}`] ?? []);
    const column = tag === "scope" ? this.tasks.scope : this.tasks.tags[tag];
    const wide = this.names.model.length;
    const sums = new Float64Array((names.length + 1) * wide);
    const seen = new Uint8Array(names.length + 1);
    const models = new Float64Array(wide);
    for (const n of cells) {
      const value = column ? column[task[n]] : -1;
      const row = value >= 0 && value < names.length ? value : names.length;
      seen[row] = 1;
      sums[row * wide + model[n]] += nusd[n];
      models[model[n]] += nusd[n];
    }
    const rows = [];
    for (let row = 0; row <= names.length; row++) {
      if (!seen[row]) continue;
      const byModel = new Map();
      let total = 0;
      for (let m = 0; m < wide; m++) {
        const cost = sums[row * wide + m];
        total += cost;
        if (cost) byModel.set(m, cost);
      }
      rows.push({ name: row < names.length ? names[row] : "(no tag)", total, byModel });
    }
    const byCost = [...models.entries()].filter(([, cost]) => cost > 0).sort((a, b) => b[1] - a[1]);
    return { rows: rows.sort((a, b) => b.total - a.total), models: byCost };
  }

  // The models by what they cost over all tasks: their colours stay whatever the filters say.
  colours() {
    if (this.ranks) return this.ranks;
    const sums = new Float64Array(this.names.model.length);
    const { model, nusd } = this.cells;
    for (let n = 0; n < model.length; n++) sums[model[n]] += nusd[n];
    const order = [...sums.keys()].sort((a, b) => sums[b] - sums[a]);
    this.ranks = new Int8Array(sums.length);
    order.forEach((index, rank) => (this.ranks[index] = Math.min(rank, 7)));
    return this.ranks;
  }
}

function keepWhere(mask, has) {
  for (let n = 0; n < mask.length; n++) mask[n] &= has[n];
}
