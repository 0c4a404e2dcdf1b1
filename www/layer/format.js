// @ts-check
/** Numbers of this view as text: eigenvalues go over many decades. @import { Maybe } from "../types.js" */
import { NONE, value } from "../ui/numbers.js";

const SUPERSCRIPT = ["⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"];

/** @param {number} exponent */
function raised(exponent) {
  return [...String(exponent)].map((c) => (c === "-" ? "⁻" : SUPERSCRIPT[Number(c)])).join("");
}

/** Four significant digits, with a power of ten where that is shorter. @param {Maybe} x */
export function significant(x) {
  const number = value(x);
  if (Number.isNaN(number)) return NONE;
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size >= 1e-3 && size < 1e5) return number.toPrecision(4).replace("-", "−");
  const [digits, exponent] = number.toExponential(3).split("e");
  return `${digits.replace("-", "−")}·10${raised(Number(exponent))}`;
}

/** A mark of an even axis: no digits for show. @param {number} x */
export function tick(x) {
  const size = Math.abs(x);
  return x === 0 || (size >= 1e-3 && size < 1e5) ? String(Number(x.toPrecision(4))).replace("-", "−") : significant(x);
}

/** A mark of a logarithmic axis. @param {number} x */
export function power(x) {
  if (x >= 0.01 && x < 10_000) return String(Number(x.toPrecision(3)));
  const exponent = Math.round(Math.log10(x));
  return `10${raised(exponent)}`;
}

/** As it is copied: every digit. @param {Maybe} x */
export function exact(x) {
  return x === null || x === undefined ? "" : String(x);
}
