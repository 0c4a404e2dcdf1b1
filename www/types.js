// @ts-check
/**
 * The shapes that travel between the wasm module, the worker and the page.
 * Types only: this module has no code.
 *
 * A number that may be missing (null) or, as in JSON, not finite.
 * @typedef {number | "NaN" | "Infinity" | "-Infinity" | null | undefined} Maybe
 *
 * All of them, as the engine's defaults have them; those that the page itself reads:
 * @typedef {object} KnownOptions
 * @property {string} quantizations comma-separated level names
 * @property {"exact" | "stored" | "seed"} dequantize
 * @property {"none" | "weightwatcher" | "seed"} compat
 * @property {string} layers glob list, "" = all
 * @typedef {KnownOptions & Record<string, string | number | boolean | null>} Options
 *
 * The options as the engine understood them.
 * @typedef {KnownOptions & {spectrum: "gram" | "svd", min_evals: number, max_evals: number, max_N: number, measures?: Record<string, string>}} Settings
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
 * @property {number | null} block number of the transformer block
 * @property {string} module q, k, v, o, gate, up, down and the like, or the rest of the name
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
 * @property {Maybe} cosine
 * @property {Maybe} xmax
 * @property {Record<string, any>} [measures] columns that were asked for
 *
 * A power law with the points of its line, `[eigenvalue, density]`.
 * @typedef {object} Fit
 * @property {number} alpha
 * @property {number} sigma
 * @property {number} D
 * @property {number} xmin
 * @property {number} xmax
 * @property {number} tail_len
 * @property {number | null} r_squared
 * @property {[number, number][]} line
 *
 * The parts of a layer's detail, in the order in which they come.
 * @typedef {SpectrumPart | RandomPart | {part: "evidence", rows: Row[]}} DetailPart
 *
 * @typedef {object} SpectrumPart
 * @property {"spectrum"} part
 * @property {"baseline" | "level"} place
 * @property {Row} row
 * @property {Float64Array} eigenvalues ascending
 * @property {Fit | null} fit
 * @property {{xmin: number, alpha: number, sigma: number, D: number, tail_len: number}[]} curve
 * @property {[number, number] | null} plateau
 * @property {{k: number, threshold: number, alpha: number, sigma: number}[]} hill
 * @property {{sigma: number, bulk_min: number, bulk_max: number, spikes: number, density: [number, number][]} | null} bulk
 * @property {number | null} det_one
 * @property {{variance: number, is_predicted: boolean, edge: number} | null} noise
 * @property {number | null} above_noise
 *
 * @typedef {object} RandomPart
 * @property {"randomized"} part
 * @property {"baseline" | "level"} place
 * @property {Float64Array} eigenvalues ascending
 * @property {Row} row
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
 * @property {Record<string, Maybe | string>} [measures] columns that were asked for
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
 * @property {Verdict} [verdict] what that comparison says
 *
 * @typedef {{sentence: string, evidence: string[]}} Verdict
 *
 * How much work a run would be; only ratios of work mean anything.
 * @typedef {object} Estimate
 * @property {number} work
 * @property {number} layers to compute
 * @property {number} levels
 * @property {{name: string, work: number, seconds: number} | null} sample one layer, timed
 *
 * A row of the engine's table of quantization schemes.
 * @typedef {object} Scheme
 * @property {string} name
 * @property {string} family
 * @property {string} bits_per_weight a number, or a formula in rows and cols
 * @property {string} block
 * @property {string} needs
 * @property {string} description
 * @property {string | null} label what must be said wherever it is shown
 * @property {boolean} common
 *
 * One weight in two models; see the columns of `heavytail compare`.
 * @typedef {object} PairRow
 * @property {string} name in the original
 * @property {string} quantized_name in the other model
 * @property {number[]} shape
 * @property {string} original_scheme
 * @property {string} scheme
 * @property {string} layout how the other is laid out, if not as the original is
 * @property {Maybe} original_bits_per_weight
 * @property {Maybe} bits_per_weight
 * @property {Maybe} relative_error
 * @property {Maybe} sqnr_db
 * @property {Maybe} max_error_share
 * @property {Maybe} nonzero_fraction
 * @property {Maybe} squared_norm
 * @property {Maybe} original_alpha
 * @property {Maybe} alpha
 * @property {Maybe} alpha_change
 * @property {Maybe} lambda_max_ratio
 * @property {Maybe} log_spectrum_distance
 * @property {string | null} reason why something is missing
 *
 * @typedef {{name: string, scheme: string, reason: string}} Unmatched
 *
 * @typedef {object} PairReport
 * @property {Status} status
 * @property {Head["model"]} original
 * @property {Head["model"]} quantized
 * @property {{pairs: number, relative_error: Maybe, sqnr_db: Maybe, original_bits_per_weight: Maybe, bits_per_weight: Maybe, alpha_change_mean: Maybe, alpha_abs_change_mean: Maybe}} totals
 * @property {PairRow[]} pairs the worst first
 * @property {Unmatched[]} only_original
 * @property {Unmatched[]} only_quantized
 * @property {string[]} notes
 *
 * @typedef {{eigenvalues: Float64Array, fit: Fit | null}} PairSpectrum
 * @typedef {{row: PairRow, spectra: [PairSpectrum, PairSpectrum] | null}} PairSpectra
 *
 * @typedef {{report?: PairReport, progress?: Progress}} PairNews
 *
 * @typedef {{method: string, layer_id: number, slice_id: number | null, name: string, delta_W: Maybe, delta_b: Maybe, M: number, N: number, b_shape: number | null, longname: string, reason: string | null}} DistanceRow
 * @typedef {{method: string, delta_W: Maybe, delta_b: Maybe, rows: DistanceRow[], unmatched: Head["skipped"]}} DistanceReport
 * @typedef {{progress: Progress, report?: DistanceReport, files?: Record<string, string>}} DistanceNews
 *
 * A file on a server: `stamp` tells one state of it from another.
 * @typedef {{name: string, size: number, url: string, stamp: string}} Remote
 * @typedef {File | Remote} Source
 *
 * @typedef {object} Engine
 * @property {string} version
 * @property {number} threads
 * @property {Options} defaults
 * @property {Scheme[]} schemes
 */
export {};
