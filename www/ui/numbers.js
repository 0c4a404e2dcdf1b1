// @ts-check
/** Numbers as text. @import { Maybe } from "../types.js" */

/** What stands where there is no value. */
export const NONE = "–";

/** The number itself, or NaN where there is none. @param {Maybe} x */
export function value(x) {
  return x === null || x === undefined ? NaN : Number(x);
}

/** @param {Maybe} x @param {number} digits after the point */
export function fixed(x, digits) {
  const number = value(x);
  if (Number.isNaN(number)) return NONE;
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  const text = number.toFixed(digits);
  return text.replace("-", isZero(text) ? "" : "−");
}

/** The same with its sign, unless all digits that are shown are zeros. @param {Maybe} x @param {number} digits */
export function signed(x, digits) {
  const text = fixed(x, digits);
  return value(x) > 0 && !isZero(text) ? `+${text}` : text;
}

/** Whether all digits of a number are zeros. @param {string} text */
export function isZero(text) {
  return !/[1-9∞]/.test(text);
}

/** @param {Maybe} x a fraction, shown as a percentage with three significant digits */
export function percent(x) {
  const number = value(x) * 100;
  if (!Number.isFinite(number)) return fixed(number, 0);
  if (number === 0) return "0%";
  const digits = Math.min(6, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(number)))));
  return `${fixed(number, digits)}%`;
}

/** @param {Maybe} x already in per cent, shown with its sign */
export function change(x) {
  return Number.isFinite(value(x)) ? `${signed(x, 2)}%` : fixed(x, 2);
}

/** Made once: to make one takes far longer than to write a number. */
const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** @param {Maybe} x */
export function whole(x) {
  return Number.isFinite(value(x)) ? WHOLE.format(value(x)) : fixed(x, 0);
}

/** @param {number} n */
export function bytes(n) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let size = n;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toPrecision(3)} ${units[unit]}`;
}

/** @param {number} n large counts in short: 22.7 M */
export function short(n) {
  for (const [unit, size] of /** @type {[string, number][]} */ ([["B", 1e9], ["M", 1e6], ["k", 1e3]])) {
    if (n >= size) return `${(n / size).toPrecision(3)} ${unit}`;
  }
  return String(n);
}

/** @param {number} n @param {string} noun */
export function count(n, noun) {
  return `${whole(n)} ${noun}${n === 1 ? "" : "s"}`;
}

/** @param {number[]} dims */
export function shape(dims) {
  return dims.length ? dims.join(" × ") : "scalar";
}

/** @param {number} seconds */
export function clock(seconds) {
  const s = Math.floor(seconds);
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

/** @param {number} seconds a duration nobody knows exactly, rounded to what can be claimed */
export function about(seconds) {
  return `${duration(seconds)} left`;
}

/** @param {number} seconds as `about` */
export function duration(seconds) {
  if (seconds < 5) return "a few seconds";
  if (seconds < 60) return `about ${Math.ceil(seconds / 5) * 5} s`;
  if (seconds < 5400) return `about ${Math.ceil(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}
