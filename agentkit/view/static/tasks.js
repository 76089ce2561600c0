// The list of tasks: any number of rows, of which only those in sight are in the page.

import { byId, h, replace } from "./dom.js";
import { count, exactUsd, moment, plural, seconds, usd } from "./format.js";

const EXTRA = 8;
const COLUMNS = [
  { key: "at", name: "Started", sort: true },
  { key: "id", name: "Task" },
  { key: "outcome", name: "Outcome" },
  { key: "nusd", name: "Cost", sort: true, right: true },
  { key: "calls", name: "Calls", sort: true, right: true },
  { key: "escalations", name: "Up", sort: true, right: true, hint: "escalated calls" },
  { key: "input", name: "In", sort: true, right: true },
  { key: "output", name: "Out", sort: true, right: true },
  { key: "seconds", name: "Took", sort: true, right: true },
  { key: "where", name: "Scope and tags" },
];

export class TaskList {
  constructor(onmark) {
    this.order = { key: "at", down: true };
    this.rows = new Uint32Array();
    this.marked = new Set();
    this.onmark = onmark;
    this.body = h("tbody");
    this.head = h("thead", {}, h("tr", { "aria-rowindex": 1 }));
    this.scroller = h("div", { class: "rows", id: "task-rows", tabindex: 0, role: "region", "aria-label": "Tasks, scrollable", onscroll: () => this.later(), onkeydown: (event) => this.key(event) },
      h("table", { class: "tasks", id: "task-table" }, h("caption", { class: "unseen" }, "Tasks"), this.head, this.body));
    this.tally = h("p", { class: "note", id: "task-count", "aria-live": "polite" });
    this.element = h("section", { class: "panel wide", "aria-labelledby": "tasks-title" },
      h("div", { class: "panel-head" }, h("h2", { id: "tasks-title" }, "Tasks"), this.tally), this.scroller);
    new ResizeObserver(() => this.later()).observe(this.scroller);
  }

  show(book, mask) {
    this.book = book;
    this.mask = mask;
    this.sort();
    this.tally.textContent = this.rows.length === book.size ? plural(book.size, "task") : `${plural(this.rows.length, "task")} of ${plural(book.size, "task").replace(/ .*/, "")}`;
    this.tally.dataset.value = this.rows.length;
    this.drawHead();
    this.draw(true);
  }

  sort() {
    const found = new Uint32Array(this.book.size);
    let size = 0;
    for (const task of this.book.order(this.order.key, this.order.down)) if (this.mask[task]) found[size++] = task;
    this.rows = found.subarray(0, size);
  }

  drawHead() {
    replace(this.head.firstChild, [
      h("th", { scope: "col", class: "pick-cell" }, h("span", { class: "unseen" }, "Compare")),
      COLUMNS.map((column) => {
        const on = column.key === this.order.key;
        const order = on ? (this.order.down ? "descending" : "ascending") : null;
        const label = column.sort
          ? h("button", { type: "button", class: "sort", title: column.hint, onclick: () => this.orderBy(column.key) }, column.name, h("span", { "aria-hidden": "true" }, on ? (this.order.down ? " ↓" : " ↑") : ""))
          : column.name;
        return h("th", { scope: "col", "aria-sort": order, class: `${column.key} ${column.right ? "right" : ""}` }, label);
      }),
    ]);
  }

  orderBy(key) {
    this.order = { key, down: key === this.order.key ? !this.order.down : true };
    this.sort();
    this.drawHead();
    this.scroller.scrollTop = 0;
    this.draw(true);
    this.head.querySelector(`.${key} .sort`)?.focus();
  }

  later() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (this.book) this.draw(false);
    });
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(this.scroller).getPropertyValue("--row")) || 36;
  }

  draw(anew) {
    const height = this.rowHeight;
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / height) - EXTRA);
    const last = Math.min(this.rows.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / height) + EXTRA);
    if (!anew && first === this.first && last === this.last) return;
    const focused = this.body.contains(document.activeElement) ? document.activeElement.dataset.focus : null;
    [this.first, this.last] = [first, last];
    const fresh = Array.from(this.rows.subarray(first, last), (task, n) => this.row(task, first + n));
    if (!this.rows.length) fresh.push(h("tr", { class: "none" }, h("td", { colspan: COLUMNS.length + 1 }, this.book.size ? "No task fits these filters." : "No tasks yet. The first one appears here as it runs.")));
    replace(this.body, [spacer(first * height), fresh, spacer((this.rows.length - last) * height)]);
    this.scroller.firstChild.setAttribute("aria-rowcount", this.rows.length + 1);
    if (focused) this.body.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }

  row(task, place) {
    const { book } = this;
    const id = book.tasks.id[task];
    const cost = book.sums.nusd[task];
    const outcome = book.outcome(task);
    const tags = book.telling.map((name) => [name, book.tag(name, task)]).filter(([, value]) => value);
    return h("tr", { "aria-rowindex": place + 2, "data-task": id },
      h("td", { class: "pick-cell" }, h("input", { type: "checkbox", "aria-label": `Compare ${id}`, "data-focus": `c${id}`, checked: this.marked.has(id), onchange: (event) => this.mark(id, event.target.checked) })),
      h("td", { class: "at" }, moment(book.tasks.at[task])),
      h("td", { class: "id" }, h("a", { href: `#task=${encodeURIComponent(id)}`, "data-focus": `a${id}` }, id)),
      h("td", { class: "outcome" }, chip(outcome)),
      h("td", { class: "nusd right", "data-value": cost, title: exactUsd(cost) }, usd(cost)),
      h("td", { class: "calls right" }, count(book.sums.calls[task])),
      h("td", { class: "escalations right" }, book.sums.escalations[task] ? count(book.sums.escalations[task]) : "·"),
      h("td", { class: "input right" }, count(book.sums.input[task])),
      h("td", { class: "output right" }, count(book.sums.output[task])),
      h("td", { class: "seconds right" }, seconds(book.tasks.seconds[task])),
      h("td", { class: "where" }, h("span", { class: "scope" }, book.scope(task)), tags.map(([name, value]) => h("span", { class: "tag" }, `${name}=${value}`))),
    );
  }

  mark(id, on) {
    if (on) this.marked.add(id);
    else this.marked.delete(id);
    while (this.marked.size > 2) this.marked.delete(this.marked.values().next().value);
    this.draw(true);
    this.onmark([...this.marked]);
  }

  // Up and down move from task to task, whether or not the next one is drawn yet.
  key(event) {
    const row = event.target.closest?.("tr[data-task]");
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!row || !step) return;
    event.preventDefault();
    const place = Number(row.getAttribute("aria-rowindex")) - 2 + step;
    if (place < 0 || place >= this.rows.length) return;
    const height = this.rowHeight;
    const top = place * height;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    if (top + 2 * height > scrollTop + clientHeight) this.scroller.scrollTop = top + 2 * height - clientHeight;
    this.draw(true);
    const kind = event.target.dataset.focus?.[0] ?? "a";
    this.body.querySelector(`[data-focus="${CSS.escape(kind + this.book.tasks.id[this.rows[place]])}"]`)?.focus({ preventScroll: true });
  }
}

function spacer(height) {
  return h("tr", { class: "spacer", "aria-hidden": "true" }, h("td", { colspan: COLUMNS.length + 1, vars: { height: `${height}px` } }));
}

export function chip(outcome) {
  return h("span", { class: `chip ${outcome}` }, outcome);
}

export function compareBar(ids, clear) {
  const bar = byId("compare-bar");
  bar.hidden = !ids.length;
  if (!ids.length) return;
  replace(bar, [
    h("span", {}, ids.length === 1 ? "One task chosen; choose another to compare." : "Two tasks chosen."),
    ids.length === 2 && h("a", { class: "button", href: `#compare=${ids.map(encodeURIComponent).join(",")}` }, "Compare"),
    h("button", { type: "button", class: "plain-button", onclick: clear }, "Clear"),
  ]);
}
