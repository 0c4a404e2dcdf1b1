// @ts-check
/**
 * The columns of both tables: heading, what it means, how its number is written. One place, so that headings,
 * their hints and the list of terms under the tables never disagree.
 * @import { ComparisonRow, Row } from "../types.js"
 */
import { NONE, change, count, fixed, percent, shape, value, whole } from "./numbers.js";

/**
 * @template R
 * @typedef {object} Column
 * @property {string} key
 * @property {string} heading
 * @property {string} means
 * @property {(row: R) => string} text
 * @property {[string, string]} [source] where the measure comes from: words and address
 * @property {string} [kind] class of the column: "name", "text" or "number" (default)
 */

/** @type {Column<ComparisonRow>[]} */
export const COMPARISON = [
  { key: "level", heading: "Level", kind: "name", means: "How the weights were quantized. The first level is the baseline: the weights as stored.", text: (row) => row.label },
  {
    key: "relative_error_mean",
    heading: "Relative error",
    means: "Mean over layers of ‖W′ − W‖ / ‖W‖ in the Frobenius norm: how far quantization moved the weights.",
    // Over part of the layers it is no mean to compare with the others.
    text: (row) => {
      const without = value(number(row, "layers_without_error"));
      return without > 0 ? `${percent(row.relative_error_mean)} (${count(row.num_layers - without, "layer")})` : percent(row.relative_error_mean);
    },
  },
  { key: "sqnr_db_mean", heading: "SQNR, dB", means: "Signal to quantization noise ratio, mean over layers: 20 dB is an error of 10%, 40 dB of 1%.", text: (row) => fixed(row.sqnr_db_mean, 1) },
  { key: "bits_per_weight_mean", heading: "Bits / weight", means: "Bits a quantized weight takes, scales included.", text: (row) => fixed(row.bits_per_weight_mean, 2) },
  { key: "failed", heading: "Failed fits", means: "Layers without a power-law fit. They are left out of every mean unless a compatibility mode says otherwise.", text: (row) => whole(row.failed) },
  { key: "spark_error", heading: "Error by layer", kind: "spark", means: "Relative error of each layer, from first to last; all levels on one scale.", text: () => "" },
  { key: "nonzero_fraction_mean", heading: "Non-zero", means: "Share of weights that are not zero after quantization, mean over layers.", text: (row) => percent(row.nonzero_fraction_mean) },
  { key: "alpha_mean", heading: "Alpha, mean", means: "Mean exponent of the power law fitted to the tail of each layer's eigenvalues.", text: (row) => fixed(row.alpha_mean, 3), source: ["Martin, Peng and Mahoney 2021", "https://doi.org/10.1038/s41467-021-24025-8"] },
  { key: "alpha_change_percent", heading: "Change", means: "Change of mean alpha from the baseline, over the layers that have an alpha at both. Ups and downs of layers cancel in it: small is not harmless.", text: (row) => change(row.alpha_change_percent) },
  { key: "alpha_abs_change_mean", heading: "Mean |Δ alpha|", means: "Mean over layers of the absolute change of alpha from the baseline: here ups and downs don't cancel.", text: (row) => fixed(row.alpha_abs_change_mean, 3) },
  { key: "spark_alpha", heading: "Δ alpha by layer", kind: "spark", means: "Change of each layer's alpha from the baseline, up or down; all levels on one scale.", text: () => "" },
  { key: "pearson", heading: "Pearson r", means: "Linear correlation of the layers' alphas with the baseline's.", text: (row) => fixed(row.pearson, 3) },
  { key: "spearman", heading: "Spearman ρ", means: "Rank correlation of the layers' alphas with the baseline's.", text: (row) => fixed(row.spearman, 3) },
  { key: "layers_optimal", heading: "In [2, 6]", means: "Layers with alpha from 2 to 6, of all counted layers.", text: (row) => `${whole(row.layers_optimal)} / ${whole(row.num_layers)}`, source: ["WeightWatcher", "https://github.com/CalculatedContent/WeightWatcher"] },
  { key: "layers_below_2", heading: "Below 2", means: "Layers with alpha below 2.", text: (row) => whole(row.layers_below_2) },
  { key: "layers_above_6", heading: "Above 6", means: "Layers with alpha above 6.", text: (row) => whole(row.layers_above_6) },
  { key: "alpha_median", heading: "Median", means: "Median of the layers' alphas.", text: (row) => fixed(row.alpha_median, 3) },
  { key: "alpha_std", heading: "Std. dev.", means: "Standard deviation of the layers' alphas.", text: (row) => fixed(row.alpha_std, 3) },
  { key: "alpha_range", heading: "Min to max", means: "Smallest and largest alpha.", text: (row) => (row.alpha_min === null || row.alpha_min === undefined ? NONE : `${fixed(row.alpha_min, 2)} to ${fixed(row.alpha_max, 2)}`) },
  { key: "alpha_hat", heading: "Alpha-hat", means: "Mean of alpha × log₁₀ of the largest eigenvalue.", text: (row) => fixed(row.alpha_hat, 3), source: ["Martin, Peng and Mahoney 2021", "https://doi.org/10.1038/s41467-021-24025-8"] },
  { key: "log_norm_mean", heading: "Log norm", means: "Mean of log₁₀ of the squared Frobenius norm.", text: (row) => fixed(row.log_norm_mean, 3) },
];

/** Columns that the comparison has when the evidence for each alpha was asked for. @type {Column<ComparisonRow>[]} */
export const EVIDENCE = [
  {
    key: "layers_distinguishable",
    heading: "Stand out",
    means: "Layers whose change of alpha is more than the noise of the fits: its 95% bootstrap interval leaves zero out. It says how well alpha is known, not what it means.",
    text: (row) => `${whole(number(row, "layers_distinguishable"))} / ${whole(row.num_layers)}`,
  },
  {
    key: "delta_alpha_mean",
    heading: "Mean Δ alpha",
    means: "Mean change of alpha with its 95% bootstrap interval over layers. An asterisk: the interval leaves zero out.",
    text: (row) => {
      const [low, high] = [number(row, "delta_alpha_mean_low"), number(row, "delta_alpha_mean_high")];
      const stands = value(low) > 0 || value(high) < 0 ? " *" : "";
      return Number.isFinite(value(low)) ? `${fixed(number(row, "delta_alpha_mean"), 3)} (${fixed(low, 3)} to ${fixed(high, 3)})${stands}` : NONE;
    },
  },
  { key: "wilcoxon_p", heading: "Wilcoxon p", means: "Signed-rank test of the layers' changes of alpha: how often chance alone gives as lopsided a set.", text: (row) => fixed(number(row, "wilcoxon_p"), 4), source: ["Wilcoxon 1945", "https://doi.org/10.2307/3001968"] },
  { key: "layers_reliable", heading: "Reliable fits", means: "Layers whose alpha has the verdict “reliable”.", text: (row) => `${whole(number(row, "layers_reliable"))} / ${whole(row.num_layers)}` },
];

/** @param {ComparisonRow} row @param {string} key @returns {import("../types.js").Maybe} */
function number(row, key) {
  const x = row.measures?.[key];
  return typeof x === "number" ? x : null;
}

/** @type {Column<Row>[]} */
export const LAYERS = [
  { key: "relative_error", heading: "Relative error", means: "‖W′ − W‖ / ‖W‖ in the Frobenius norm; none where nothing is quantized.", text: (row) => (row.quantized ? percent(row.relative_error) : NONE) },
  { key: "sqnr_db", heading: "SQNR, dB", means: "Signal to quantization noise ratio.", text: (row) => (row.quantized ? fixed(row.sqnr_db, 1) : NONE) },
  { key: "nonzero_fraction", heading: "Non-zero", means: "Share of weights that are not zero.", text: (row) => percent(row.nonzero_fraction) },
  { key: "alpha", heading: "Alpha", means: "Exponent of the power law fitted to the tail of the eigenvalues of WᵀW, by maximum likelihood.", text: (row) => fixed(row.alpha, 3), source: ["Clauset, Shalizi and Newman 2009", "https://doi.org/10.1137/070710111"] },
  { key: "D", heading: "D", means: "Kolmogorov–Smirnov distance between the tail and its fit: smaller fits better.", text: (row) => fixed(row.D, 3), source: ["Clauset, Shalizi and Newman 2009", "https://doi.org/10.1137/070710111"] },
  { key: "sigma", heading: "σ", means: "Standard error of alpha for a tail of this length, (α − 1)/√n.", text: (row) => fixed(row.sigma, 3), source: ["Clauset, Shalizi and Newman 2009", "https://doi.org/10.1137/070710111"] },
  { key: "tail", heading: "Tail", means: "Eigenvalues in the fitted tail, of all eigenvalues.", text: (row) => `${whole(row.num_pl_spikes)} / ${whole(row.num_evals)}` },
  { key: "status", heading: "Fit", kind: "text", means: "Whether the fit succeeded, and why not. WeightWatcher warns of alpha below 2 (it says over-trained) and above 6 (under-trained).", text: fit },
  { key: "stable_rank", heading: "Stable rank", means: "Squared Frobenius norm over the largest eigenvalue.", text: (row) => fixed(row.stable_rank, 2) },
  { key: "log_spectral_norm", heading: "Log λ max", means: "log₁₀ of the largest eigenvalue (WeightWatcher's log_spectral_norm).", text: (row) => fixed(row.log_spectral_norm, 3) },
  { key: "alpha_weighted", heading: "Alpha-hat", means: "Alpha × log₁₀ of the largest eigenvalue.", text: (row) => fixed(row.alpha_weighted, 3) },
  { key: "shape", heading: "Shape", kind: "text", means: "Shape and dtype of the stored tensor.", text: (row) => `${shape(row.shape)} ${row.dtype}` },
];

/** @param {Row} row */
function fit(row) {
  const parts = [row.status === "failed" ? `failed${row.reason ? `: ${row.reason}` : ""}` : "ok"];
  if (row.warning) parts.push(row.warning === "over-trained" ? "alpha < 2" : "alpha > 6");
  if (!row.counted) parts.push("not counted");
  return parts.join(", ");
}
