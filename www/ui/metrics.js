// @ts-check
/**
 * The measures of a layer that pictures can show: where the number stands in a row, and how it is written.
 * @import { Head, Row } from "../types.js"
 */
import { fixed, isZero, percent, value, whole } from "./numbers.js";

/**
 * @typedef {object} Metric
 * @property {string} key
 * @property {string} label
 * @property {(row: Row) => number} of NaN where there is none
 * @property {(x: number) => string} text
 * @property {boolean} [isError] what quantization did: a layer that a level leaves as it is has none
 * @property {boolean} [spectral] a property of the spectrum, so that its change against the baseline says something
 */

/** @param {string} key @param {string} label @param {(x: number) => string} text @param {boolean} [spectral] @returns {Metric} */
const column = (key, label, text, spectral = false) => ({ key, label, text, spectral, of: (row) => value(/** @type {any} */ (row)[key]) });
const digits = (/** @type {number} */ n) => (/** @type {number} */ x) => fixed(x, n);

/** @type {Metric[]} */
export const METRICS = [
  { ...column("relative_error", "Relative error", percent), isError: true },
  { ...column("sqnr_db", "SQNR, dB", digits(1)), isError: true },
  { ...column("alpha", "Alpha", digits(3), true), of: (row) => (row.status === "success" ? value(row.alpha) : NaN) },
  column("nonzero_fraction", "Non-zero", percent),
  column("stable_rank", "Stable rank", digits(2), true),
  column("log_spectral_norm", "Log spectral norm", digits(3), true),
  column("log_norm", "Log Frobenius norm", digits(3), true),
  column("alpha_weighted", "Alpha-hat", digits(3), true),
  column("D", "D of the fit", digits(3), true),
  column("sigma", "σ of alpha", digits(3), true),
  column("num_pl_spikes", "Eigenvalues in the tail", whole, true),
  column("entropy", "Entropy", digits(3), true),
  column("rank_loss", "Rank loss", whole, true),
  column("bits_per_weight", "Bits / weight", digits(3)),
];

/** Those that were asked for besides. @param {Row[]} rows @returns {Metric[]} */
export function measured(rows) {
  const keys = new Set(rows.flatMap(({ measures }) => Object.entries(measures ?? {}).filter(([key, x]) => typeof x === "number" && key !== "slice_id").map(([key]) => key)));
  return [...keys].sort().map((key) => ({ key, label: key, spectral: !key.startsWith("delta_"), text: (x) => (Number.isInteger(x) ? whole(x) : fixed(x, 4)), of: (row) => number(row.measures?.[key]) }));
}

/** @param {any} x */
function number(x) {
  return typeof x === "number" ? x : NaN;
}

/** How a metric's numbers stand on an axis: without the zeros that make a column of a table. @param {(x: number) => string} text */
export function onAxis(text) {
  return (/** @type {number} */ x) => text(x).replace(/(\.\d*?)0+(?=%|$)/, "$1").replace(/\.(?=%|$)/, "");
}

/** A metric's number less the baseline's. @param {Metric} metric @returns {Metric} */
export function changeOf(metric) {
  return { ...metric, text: (x) => `${x > 0 && !isZero(metric.text(x)) ? "+" : ""}${metric.text(x)}` };
}

/** The rows of a run by layer and level; the first slice where kernels are analysed in slices. */
export class Rows {
  /** By level, then by layer: they are looked up for every point of every picture. @type {Map<string, Map<number, Row>>} */
  #rows = new Map();
  /** @type {Head} */
  head;

  /** @param {Head} head */
  constructor(head) {
    this.head = head;
  }

  /** @param {Row[]} rows */
  add(rows) {
    for (const row of rows) {
      if (Number(row.measures?.slice_id ?? 0) > 0) continue;
      let layers = this.#rows.get(row.quantization);
      if (!layers) this.#rows.set(row.quantization, (layers = new Map()));
      layers.set(row.layer_id, row);
    }
  }

  /** @param {number} layer @param {string} level */
  at(layer, level) {
    return this.#rows.get(level)?.get(layer);
  }

  all() {
    return [...this.#rows.values()].flatMap((layers) => [...layers.values()]);
  }

  /** @param {number} layer @param {string} level @param {Metric} metric @param {boolean} against whether less the baseline's */
  number(layer, level, metric, against = false) {
    const row = this.at(layer, level);
    if (!row || (metric.isError && !row.quantized && level !== this.head.levels[0].name)) return NaN;
    const own = metric.of(row);
    if (!against) return own;
    const base = this.at(layer, this.head.levels[0].name);
    return base ? own - metric.of(base) : NaN;
  }
}
