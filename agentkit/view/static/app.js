// The page: what is loaded, which filters hold, which view the address names, what is live.

import { Book } from "./book.js";
import { compareView } from "./compare.js";
import { byId, h, replace } from "./dom.js";
import { moment, plural } from "./format.js";
import { alerts, composition, keyFigures, savings, spending, whereItGoes } from "./overview.js";
import { taskView } from "./task.js";
import { TaskList, compareBar } from "./tasks.js";

const POLL_MS = 1500;
const PERIODS = [["", "All"], ["2592000", "30 days"], ["604800", "7 days"], ["86400", "24 h"]];

const state = { book: null, filters: { tags: {} }, known: "", tag: null, version: 0, source: null, shown: "", told: "" };
const list = new TaskList((ids) => compareBar(ids, () => { list.marked.clear(); list.draw(true); compareBar([]); }));

export async function start(source) {
  state.source = source;
  theme();
  window.addEventListener("hashchange", () => route());
  document.addEventListener("keydown", shortcuts);
  let resizing = 0;
  let width = innerWidth;
  window.addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(resizing);
    resizing = setTimeout(() => state.book && route(true), 150);
  });
  try {
    await load();
  } catch (error) {
    replace(byId("main"), h("p", { class: "nothing" }, `The figures could not be read: ${error.message}`));
    return;
  }
  if (source.live) setInterval(() => { if (!document.hidden) refresh(); }, POLL_MS);
}

async function load() {
  const body = await state.source.book(state.version);
  if (!body) return false;
  if (state.book) state.book.take(body);
  else state.book = new Book(body);
  state.version = state.book.facts.version;
  state.tag ??= state.book.tags[0] ?? "scope";
  drawFilters();
  await route(true);
  if (!document.body.dataset.shownMs) afterPaint(() => (document.body.dataset.shownMs = performance.now().toFixed(0)));
  return true;
}

// Once what was drawn is on the screen.
function afterPaint(done) {
  requestAnimationFrame(() => requestAnimationFrame(done));
}

async function refresh() {
  const live = byId("live");
  try {
    const fresh = await load();
    live.dataset.state = state.book.facts.running ? "running" : "idle";
    if (fresh) live.querySelector("span").textContent = liveText();
  } catch {
    live.dataset.state = "lost";
    live.querySelector("span").textContent = "not connected";
  }
}

function liveText() {
  const running = state.book.facts.running;
  return running ? `${plural(running, "task")} running` : "live";
}

// The view that the address names: #task=ID, #compare=A,B, or the overview.
async function route(again = false) {
  const [name, value] = location.hash.slice(1).split("=");
  const view = value ? `${name}=${value}` : "";
  const main = byId("main");
  document.body.dataset.view = value ? name : "overview";
  if (!view) {
    if (state.shown !== "" || !byId("figures")) replace(main, frame());
    const came = state.shown;
    state.shown = "";
    draw();
    if (came && !again) byId("title").focus();
    return;
  }
  const ids = value.split(",").map(decodeURIComponent);
  try {
    const found = await Promise.all(ids.map((id) => state.source.task(id)));
    const told = `${innerWidth} ${JSON.stringify(found)}`;
    if (again && state.shown === view && state.told === told) return;
    state.told = told;
    const draw = () => replace(main, name === "compare" && found.length === 2 ? compareView(...found) : taskView(found[0]));
    if (again && state.shown === view) redrawn(main, draw);
    else draw();
    if (state.shown !== view) window.scrollTo(0, 0);
    if (!again) byId("view-title")?.focus();
  } catch (error) {
    replace(main, [h("a", { class: "back", href: "#" }, "← All tasks"), h("p", { class: "nothing" }, error.message)]);
  }
  state.shown = view;
}

const REACHABLE = "a, button, input, select, summary, [tabindex]";

// Draw a part of the page anew; what was open stays open, and the focus stays where it was.
function redrawn(part, draw) {
  const open = [...part.querySelectorAll("details")].flatMap((element, n) => (element.open ? [n] : []));
  const focused = [...part.querySelectorAll(REACHABLE)].indexOf(document.activeElement);
  draw();
  open.forEach((n) => part.querySelectorAll("details")[n]?.setAttribute("open", ""));
  if (focused >= 0) part.querySelectorAll(REACHABLE)[focused]?.focus({ preventScroll: true });
}

function frame() {
  return [
    h("h1", { class: "unseen", id: "title", tabindex: -1 }, "What every task cost, and why"),
    h("div", { id: "figures" }),
    h("div", { id: "alerts" }),
    h("div", { class: "grid", id: "panels" }),
    list.element,
  ];
}

function draw() {
  if (!byId("figures")) return;
  const { book } = state;
  const since = state.filters.period ? book.facts.made_at - Number(state.filters.period) : 0;
  const mask = book.mask({ ...state.filters, since });
  const cells = book.chosen(mask);
  const sums = book.total(cells);
  const colours = book.colours();
  replace(byId("figures"), keyFigures(book, mask, sums));
  const parts = [
    spending(book, cells, colours),
    composition(sums),
    whereItGoes(book, cells, state.tag, tagPicker()),
    savings(book, sums),
  ];
  redrawn(byId("alerts"), () => replace(byId("alerts"), alerts(book)));
  redrawn(byId("panels"), () => replace(byId("panels"), parts));
  list.show(book, mask);
}

function tagPicker() {
  const choices = [...state.book.tags, "scope"];
  return h("label", { class: "picker" }, h("span", {}, "by"),
    h("select", { id: "where-by", onchange: (event) => { state.tag = event.target.value; draw(); byId("where-by").focus(); } },
      choices.map((name) => h("option", { value: name, selected: name === state.tag }, name))));
}

// Made again only where there is something new to choose, so that nobody is interrupted.
function drawFilters(anew = false) {
  const { book, filters } = state;
  const bar = byId("filters");
  drawSource();
  const tags = book.telling.slice(0, 5);
  const known = JSON.stringify([book.names.model, book.names.outcome, tags.map((name) => book.names[`tag:${name}`])]);
  if (state.known === known && !anew) return;
  state.known = known;
  const focused = document.activeElement?.id;
  const change = (set) => (event) => { set(event.target.value); apply(); };
  const select = (id, label, values, current, set) =>
    h("label", { class: "picker" }, h("span", { class: "unseen" }, label), h("select", { id, class: current ? "chosen" : "", onchange: (event) => { event.target.className = event.target.value ? "chosen" : ""; change(set)(event); } }, h("option", { value: "" }, `any ${label}`), values.map((value) => h("option", { value, selected: value === current }, value || "running"))));
  const outcomes = book.names.outcome.map((text) => text || "running");
  const open = byId("more-filters")?.open ?? window.innerWidth > 720;
  replace(bar, [
    h("label", { class: "search" }, h("span", { class: "unseen" }, "Search tasks"), h("input", { type: "search", id: "search", placeholder: "Search id, scope, tag  /", value: filters.text ?? "", autocomplete: "off", spellcheck: "false", oninput: change((text) => (filters.text = text)) })),
    h("details", { class: "more", id: "more-filters", open }, h("summary", {}, "Filters"),
      h("div", { class: "pickers" },
        h("div", { class: "segments", role: "group", "aria-label": "Period" }, PERIODS.map(([value, text]) => h("button", { type: "button", "data-period": value, "aria-pressed": String((filters.period ?? "") === value), onclick: () => { filters.period = value; drawFilters(true); draw(); bar.querySelector(`[data-period="${value}"]`).focus(); } }, text))),
        select("by-outcome", "outcome", outcomes, filters.outcome, (value) => (filters.outcome = value)),
        select("by-model", "model", book.names.model, filters.model, (value) => (filters.model = value)),
        tags.map((name) => select(`by-${name}`, name, [...book.names[`tag:${name}`]].sort().slice(0, 500), filters.tags[name], (value) => { if (value) filters.tags[name] = value; else delete filters.tags[name]; })),
        h("button", { type: "button", class: "plain-button", id: "clear-filters", onclick: () => { state.filters = { tags: {} }; drawFilters(true); draw(); byId("search").focus(); } }, "Clear"))),
  ]);
  if (focused) byId(focused)?.focus();
}

// Which ledger this is, and whether it is still being read.
function drawSource() {
  const { facts } = state.book;
  replace(byId("source"), h("span", { class: "ledger", title: facts.ledger }, facts.ledger), facts.note && h("span", { class: "note" }, facts.note));
  const live = byId("live");
  live.hidden = false;
  live.dataset.state = state.source.live ? (facts.running ? "running" : "idle") : "file";
  live.querySelector("span").textContent = state.source.live ? liveText() : `as of ${moment(facts.made_at)} UTC`;
}

let pending = 0;
function apply() {
  if (pending) return;
  pending = requestAnimationFrame(() => {
    pending = 0;
    if (location.hash.length > 1) location.hash = "";
    draw();
  });
}

function theme() {
  const button = byId("theme");
  const media = matchMedia("(prefers-color-scheme: dark)");
  const name = () => document.documentElement.dataset.theme ?? (media.matches ? "dark" : "light");
  const show = () => {
    button.setAttribute("aria-pressed", String(name() === "dark"));
    button.title = name() === "dark" ? "Light" : "Dark";
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = name() === "dark" ? "light" : "dark";
    show();
  });
  media.addEventListener("change", show);
  show();
}

function shortcuts(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "/" && !typing) {
    event.preventDefault();
    if (location.hash.length > 1) location.hash = "";
    byId("search")?.focus();
  } else if (event.key === "Escape") {
    if (typing) event.target.blur();
    else if (location.hash.length > 1) location.hash = "";
  }
}


byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
