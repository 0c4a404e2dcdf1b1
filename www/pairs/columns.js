// @ts-check
/**
 * The columns of the comparison of two models: heading, meaning, text.
 * @import { PairRow } from "../types.js"
 * @import { Column } from "../ui/terms.js"
 */
import { shown } from "../ui/dom.js";
import { NONE, fixed, percent, shape, signed } from "../ui/numbers.js";

/** @type {Column<PairRow>} */
export const NAME = { key: "name", heading: "Weight", kind: "name", means: "Name of the weight in the original; it opens both spectra.", text: (row) => shown(row.name) };

/** @type {Column<PairRow>[]} */
export const COLUMNS = [
  { key: "scheme", heading: "Stored as", kind: "text", means: "How the other model stores it: what it was quantized with.", text: (row) => shown(row.scheme) },
  { key: "bits_per_weight", heading: "Bits / weight", means: "Bits a weight takes in the other model, scales included.", text: (row) => fixed(row.bits_per_weight, 3) },
  { key: "relative_error", heading: "Relative error", means: "‖W′ − W‖ / ‖W‖ in the Frobenius norm, W of the original and W′ of the other model: their distance. The table is sorted by it.", text: (row) => percent(row.relative_error) },
  { key: "sqnr_db", heading: "SQNR, dB", means: "The same in decibels: 20 dB is an error of 10%, 40 dB of 1%.", text: (row) => fixed(row.sqnr_db, 1) },
  { key: "max_error_share", heading: "Largest error", means: "Largest |W′ − W| of a single weight, in units of the largest |W|.", text: (row) => percent(row.max_error_share) },
  { key: "original_alpha", heading: "Alpha, original", means: "Exponent of the power law fitted to the tail of the original's eigenvalues.", text: (row) => fixed(row.original_alpha, 3), source: ["Martin, Peng and Mahoney 2021", "https://doi.org/10.1038/s41467-021-24025-8"] },
  { key: "alpha", heading: "Alpha, other", means: "The same of the other model.", text: (row) => fixed(row.alpha, 3) },
  { key: "alpha_change", heading: "Δ alpha", means: "Their difference. It says little about damage.", text: (row) => signed(row.alpha_change, 3) },
  { key: "log_spectrum_distance", heading: "Spectrum moved", means: "By how many decades an eigenvalue moves on average: Wasserstein distance between both spectra on the axis of log₁₀ λ.", text: (row) => fixed(row.log_spectrum_distance, 4) },
  { key: "lambda_max_ratio", heading: "λ max ratio", means: "Largest eigenvalue of the other model, by that of the original.", text: (row) => fixed(row.lambda_max_ratio, 4) },
  { key: "shape", heading: "Shape", kind: "text", means: "Shape in the original, and how the original stores it.", text: (row) => `${shape(row.shape)} ${shown(row.original_scheme)}` },
  { key: "other", heading: "In the other model", kind: "text", means: "Its name there if that is another one, and what part or order of it is the same weight.", text: (row) => [row.quantized_name === row.name ? "" : shown(row.quantized_name), shown(row.layout)].filter(Boolean).join(", ") || NONE },
  { key: "reason", heading: "Missing", kind: "text failed", means: "Why numbers are missing.", text: (row) => shown(row.reason ?? "") },
];
