// @ts-check
/**
 * The shapes that travel between the wasm module, the worker and the page.
 * Types only: this module has no code.
 *
 * A number that may be missing (null) or, as in JSON, not finite.
 * @typedef {number | "NaN" | "Infinity" | "-Infinity" | null | undefined} Maybe
 *
 * @typedef {object} Options
 * @property {string} quantizations comma-separated level names
 * @property {"exact" | "stored" | "seed"} dequantize
 * @property {"none" | "weightwatcher" | "seed"} compat
 * @property {boolean} svd
 * @property {string} layers glob list, "" = all
 *
 * The options as the engine understood them.
 * @typedef {Omit<Options, "svd"> & {spectrum: "gram" | "svd", min_evals: number, max_evals: number, max_N: number}} Settings
 *
 * @typedef {object} LayerInfo
 * @property {number} layer_id
 * @property {string} name
 * @property {string} layer_type
 * @property {string} dtype
 * @property {number[]} shape
 * @property {number} N
 * @property {number} M
 * @property {number} Q
 * @property {number} rf
 * @property {number} num_evals
 * @property {boolean} counted false: analysed but left out of the comparison (embeddings)
 *
 * @typedef {{name: string, dtype: string, shape: number[], reason: string}} Skipped
 *
 * What is known before the first layer is: of a model that is merely opened, and of a run.
 * @typedef {object} Head
 * @property {{files: {name: string, size: number}[], format: string, tensors: number, parameters: number, bytes: number}} model
 * @property {Settings} settings
 * @property {{name: string, label: string}[]} levels
 * @property {LayerInfo[]} layers
 * @property {Skipped[]} skipped
 * @property {string[]} notes
 *
 * @typedef {object} Row
 * @property {string} quantization
 * @property {number} layer_id
 * @property {string} name
 * @property {Maybe} D
 * @property {Maybe} M
 * @property {Maybe} N
 * @property {Maybe} alpha
 * @property {Maybe} alpha_weighted
 * @property {Maybe} log_norm
 * @property {Maybe} log_spectral_norm
 * @property {Maybe} num_evals
 * @property {Maybe} num_pl_spikes
 * @property {Maybe} sigma
 * @property {Maybe} stable_rank
 * @property {"success" | "failed"} status
 * @property {"" | "over-trained" | "under-trained"} warning
 * @property {string | null} [reason]
 * @property {boolean} counted
 * @property {boolean} quantized
 * @property {string} dtype
 * @property {number[]} shape
 * @property {Maybe} nonzero_fraction
 * @property {Maybe} bits_per_weight
 * @property {Maybe} relative_error
 * @property {Maybe} sqnr_db
 *
 * @typedef {object} ComparisonRow
 * @property {string} quantization
 * @property {string} label
 * @property {number} num_layers
 * @property {Maybe} relative_error_mean
 * @property {Maybe} sqnr_db_mean
 * @property {Maybe} nonzero_fraction_mean
 * @property {Maybe} bits_per_weight_mean
 * @property {Maybe} alpha_mean
 * @property {Maybe} alpha_std
 * @property {Maybe} alpha_min
 * @property {Maybe} alpha_max
 * @property {Maybe} alpha_median
 * @property {Maybe} layers_below_2
 * @property {Maybe} layers_above_6
 * @property {Maybe} layers_optimal
 * @property {Maybe} alpha_hat
 * @property {Maybe} log_norm_mean
 * @property {Maybe} failed
 * @property {Maybe} alpha_change_percent
 * @property {Maybe} alpha_abs_change_mean
 * @property {Maybe} pearson
 * @property {Maybe} spearman
 *
 * @typedef {{layers_done: number, layers_total: number, work_done: number, work_total: number}} Progress
 * @typedef {"complete" | "cancelled"} Status
 *
 * What the worker tells while an analysis runs.
 * @typedef {object} News
 * @property {Head} [head] once, first
 * @property {Row[]} [rows] finished since the last news
 * @property {Progress} [progress]
 * @property {ComparisonRow[]} [comparison] of all rows finished so far
 *
 * A file on a server: `stamp` tells one state of it from another.
 * @typedef {{name: string, size: number, url: string, stamp: string}} Remote
 * @typedef {File | Remote} Source
 *
 * @typedef {object} Engine
 * @property {string} version
 * @property {number} threads
 * @property {Options} defaults
 */
export {};
