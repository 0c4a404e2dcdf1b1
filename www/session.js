// @ts-check
/**
 * What is known of an opened model: its files, a run over them, its comparison with another.
 * @import { ComparisonRow, DistanceReport, Head, Options, PairReport, Progress, Row, Source, Status, Verdict } from "./types.js"
 */

/**
 * @typedef {object} Model
 * @property {Source[]} files
 * @property {Head} head
 * @property {number} ignored files that were given but are no part of the model
 * @property {number | null} lora_alpha what an adapter's settings beside it say of its scale
 *
 * @typedef {object} Run what the results below the model show
 * @property {Head} head
 * @property {Row[]} rows
 * @property {ComparisonRow[]} comparison
 * @property {Verdict | null} verdict
 * @property {Model | null} model whose rows these are
 * @property {Model | null} base from which they are the differences, or to which adapters were added
 * @property {Progress} progress
 * @property {"running" | Status} status
 * @property {number} began milliseconds, as performance.now() counts
 * @property {number | null} ended null while it runs, and of one that was kept from an earlier visit
 *
 * @typedef {object} Pairs the comparison of two models
 * @property {Model} first
 * @property {Model} second
 * @property {Options} options
 * @property {PairReport | null} report of what is finished
 * @property {Distances | null} distances of the same models
 * @property {Progress} progress
 * @property {"running" | Status} status
 * @property {number} began as of a run
 * @property {number | null} ended
 *
 * @typedef {object} Distances how far two models are apart, layer by layer
 * @property {string} method
 * @property {DistanceReport | null} report
 * @property {Record<string, string>} files what can be saved of it, by name
 * @property {Progress} progress
 * @property {"running" | Status} status
 * @property {number} began as of a run
 * @property {number | null} ended
 *
 * @typedef {object} Session an opened model and what was found of it
 * @property {Model} model
 * @property {Options | null} options as they are set for it; null until it was shown
 * @property {Run | null} run
 * @property {Model | null} second the model that it is compared with
 * @property {boolean} asBase whether that is also the base model of runs
 * @property {Pairs | null} pairs
 */

/** Whether two lists of files may be the same: their content is not looked at. @param {Source[]} a @param {Source[]} b */
export function looksLike(a, b) {
  const known = (/** @type {Source[]} */ files) => JSON.stringify(files.map((file) => [file.name, file.size, file instanceof File ? file.lastModified : [file.url, file.stamp]]));
  return known(a) === known(b);
}

/** What changes how fast work is done, beside how much there is. @param {Options} options */
export function speedKey(options) {
  return JSON.stringify({ ...options, quantizations: "", layers: "" });
}

/** The options that a run's settings come from. @param {Head["settings"]} settings */
export function optionsOf({ measures, spectrum, ...settings }) {
  const read = (/** @type {string} */ text) => (/^(true|false|-?[\d.]+(e-?\d+)?)$/.test(text) ? JSON.parse(text) : text);
  return { ...settings, svd: spectrum === "svd", ...Object.fromEntries(Object.entries(measures ?? {}).map(([name, text]) => [name, read(text)])) };
}

/** The model that runs are about the difference from. @param {Session} session */
export function baseOf({ second, asBase }) {
  return asBase ? second : null;
}

/** Rows of a model that need not be computed again; the engine leaves out those that other settings would change. @param {Session} session @param {number} [most] */
export function keptOf(session, most = Infinity) {
  const { run } = session;
  return run && run.base === baseOf(session) && run.rows.length <= most ? { head: run.head, rows: run.rows } : null;
}
