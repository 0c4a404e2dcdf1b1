// @ts-check
/** The engine's options as the page shows them, in groups. An option that is not named here keeps the engine's default. */

/**
 * @typedef {object} Control
 * @property {string} key of the engine's options
 * @property {string} label
 * @property {string} hint
 * @property {[string, string][]} [choices] value and words: a list
 * @property {{min?: number, step?: number | "any", may_be_empty?: boolean}} [number] a number
 *
 * What is neither a list nor a number is a switch.
 * @type {{title: string, about: string, controls: Control[]}[]}
 */
export const GROUPS = [
  {
    title: "Whose numbers",
    about: "Follow a reference tool to the digit, or the better definition.",
    controls: [
      {
        key: "compat",
        label: "Compatibility",
        hint: "WeightWatcher averages failed fits as alpha = −1; by default they are no value.",
        choices: [["none", "None: a failed fit is no value"], ["weightwatcher", "WeightWatcher 0.7.7, oddities included"], ["seed", "The study: WeightWatcher in half precision"]],
      },
      {
        key: "dequantize",
        label: "Arithmetic of the naive levels",
        hint: "What the dequantized weights are rounded to.",
        choices: [["exact", "Exact: float32 codes × scale"], ["stored", "Stored: then rounded to the tensor's dtype"], ["seed", "Study: half precision throughout"]],
      },
      { key: "svd", label: "True singular values", hint: "For rank, entropy and the smallest singular value. By default they come from the Gram matrix, which can't see below 3e-7 of the largest. Several times slower." },
    ],
  },
  {
    title: "The fit",
    about: "How alpha is found in the tail of the eigenvalues.",
    controls: [
      { key: "fit", label: "Law", hint: "A truncated power law adds an exponential end.", choices: [["PL", "Power law"], ["TPL", "Truncated power law"], ["E_TPL", "Truncated, xmin near the peak"]] },
      { key: "xmax", label: "Leave out the largest", hint: "So many of the largest eigenvalues are not fitted.", number: { min: 0, step: 1 } },
      { key: "fix_fingers", label: "Fix fingers", hint: "Single far eigenvalues can spoil a fit: leave them out, or look for xmin near the peak only.", choices: [["", "No"], ["clip_xmax", "Leave out while alpha falls (clip_xmax)"], ["xmin_peak", "xmin near the peak (xmin_peak)"]] },
      { key: "max_fingers", label: "Fingers at most", hint: "For clip_xmax.", number: { min: 1, step: 1 } },
      { key: "finger_thresh", label: "Fall of alpha for a finger", hint: "For clip_xmax.", number: { step: "any" } },
      { key: "xmin_max", label: "Largest xmin", hint: "For xmin_peak. Empty: 1.5 times the peak.", number: { step: "any", may_be_empty: true } },
      { key: "inverse", label: "Reciprocal eigenvalues", hint: "Fit the other end of the spectrum." },
    ],
  },
  {
    title: "Can alpha be trusted",
    about: "The evidence for each alpha and for each change of it.",
    controls: [
      { key: "trust", label: "Evidence and verdicts", hint: "Bootstrap intervals, goodness of fit, rival laws, a verdict for each layer, and which changes stand out from fit noise. Slower." },
      { key: "draws", label: "Samples for it", hint: "More are more precise, and slower.", number: { min: 1, step: 1 } },
      { key: "farms", label: "Side of square blocks", hint: "An alpha without the bias of a matrix's shape (FARMS), from blocks of this side. 0: none.", number: { min: 0, step: 1 } },
      { key: "randomize", label: "Compare with random order", hint: "The spectrum of the same weights, shuffled: what in it is more than their sizes." },
      { key: "seed", label: "Seed", hint: "Of everything random.", number: { min: 0, step: 1 } },
    ],
  },
  {
    title: "Further measures",
    about: "Columns of WeightWatcher that are off by default there too.",
    controls: [
      { key: "detX", label: "Trace-log condition (detX, ERG)", hint: "Where the product of the largest eigenvalues is 1." },
      { key: "mp_fit", label: "Marchenko–Pastur fit", hint: "The bulk as random noise: its edge, and how many eigenvalues stand above it." },
      { key: "vectors", label: "Eigenvectors", hint: "How localised those of tail and bulk are. Several times slower." },
      { key: "deltas", label: "Level statistics", hint: "Spacings of neighbouring eigenvalues." },
      { key: "tolerance", label: "Weak rank below", hint: "Eigenvalues below this count as weak rank loss.", number: { min: 0, step: "any" } },
    ],
  },
  {
    title: "Adapters",
    about: "Files of LoRA adapters: what they add to a model.",
    controls: [
      {
        key: "peft",
        label: "Analyse",
        hint: "Their base is in the same file, or the second model where that is marked as the base.",
        choices: [["no", "Tensors as they are"], ["only", "What adapters add (B A)"], ["with_base", "That, and the base with it (W + B A)"]],
      },
      { key: "lora_alpha", label: "lora_alpha", hint: "What an adapter adds is lora_alpha / rank times its product. Read from adapter_config.json if that is opened with it; empty: once the product.", number: { step: "any", may_be_empty: true } },
    ],
  },
  {
    title: "Which tensors",
    about: "Limits as in WeightWatcher.",
    controls: [
      { key: "min_evals", label: "Eigenvalues, at least", hint: "0: no limit.", number: { min: 0, step: 1 } },
      { key: "max_evals", label: "Eigenvalues, at most", hint: "0: no limit.", number: { min: 0, step: 1 } },
      { key: "max_N", label: "Longer side, at most", hint: "Output matrices of large vocabularies lie above.", number: { min: 1, step: 1 } },
      { key: "start_ids", label: "First layer id", hint: "", number: { min: 0, step: 1 } },
      { key: "pool", label: "Pool kernel positions", hint: "One spectrum for a convolution. Off: one for each kernel position." },
      { key: "conv2d_norm", label: "Normalise convolutions", hint: "WeightWatcher halves their eigenvalues." },
    ],
  },
];
