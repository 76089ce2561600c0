// Figures as people read them. Amounts are nano-USD; times are seconds since 1970.

export function usd(nusd) {
  const value = nusd / 1e9;
  const size = Math.abs(value);
  const sign = value < 0 ? "−" : "";
  if (size === 0) return "$0";
  if (size >= 1000) return `${sign}$${grouped(size, 0)}`;
  if (size >= 1) return `${sign}$${size.toFixed(2)}`;
  if (size >= 0.01) return `${sign}$${size.toFixed(4)}`;
  return `${sign}$${Number(size.toPrecision(3)).toFixed(Math.min(9, 2 - Math.floor(Math.log10(size))))}`;
}

// For an axis: no more digits than its steps need.
export function axisUsd(nusd) {
  const value = nusd / 1e9;
  if (Math.abs(value) >= 1000) return `$${count(value)}`;
  return `$${Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 9 })}`;
}

export function exactUsd(nusd) {
  const sign = nusd < 0 ? "-" : "";
  const digits = String(Math.abs(Math.round(nusd))).padStart(10, "0");
  return `${sign}${digits.slice(0, -9)}.${digits.slice(-9)} USD`;
}

export function count(number) {
  if (number < 10_000) return grouped(number, 0);
  if (number < 1e6) return `${(number / 1e3).toFixed(number < 1e5 ? 1 : 0)}k`;
  if (number < 1e9) return `${(number / 1e6).toFixed(number < 1e8 ? 1 : 0)}M`;
  return `${(number / 1e9).toFixed(1)}G`;
}

export function grouped(number, digits) {
  return number.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export function percent(part, whole) {
  if (!whole) return "–";
  const value = (100 * part) / whole;
  if (value === 0) return "0%";
  if (value > 0 && value < 0.1) return "<0.1%";
  return `${value.toFixed(value < 10 ? 1 : 0)}%`;
}

export function seconds(value) {
  if (value === null || value === undefined || value < 0) return "–";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  if (value < 60) return `${value.toFixed(1)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
  return `${Math.floor(value / 3600)} h ${Math.round((value % 3600) / 60)} min`;
}

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" });

export function day(at) {
  return DAY.format(at * 1000);
}

export function moment(at) {
  return `${DAY.format(at * 1000)} ${CLOCK.format(at * 1000)}`;
}

export function hour(at) {
  return CLOCK.format(at * 1000);
}

export function plural(number, one, many = `${one}s`) {
  return `${grouped(number, 0)} ${number === 1 ? one : many}`;
}

// Round steps for an axis up to `most`: at most `wanted` of them.
export function ticks(most, wanted = 4) {
  if (!(most > 0)) return [0];
  const rough = most / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough);
  const found = [];
  for (let at = 0; at <= most * 1.0001; at += step) found.push(at);
  return found;
}
