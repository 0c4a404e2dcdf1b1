// @ts-check
/**
 * The numbers of the view: both spectra side by side, with what each means.
 * @import { Row, SpectrumPart } from "../types.js"
 * @import { Column } from "../ui/terms.js"
 */
import { make } from "../ui/dom.js";
import { change, fixed, percent, value, whole } from "../ui/numbers.js";
import { terms } from "../ui/table.js";
import { LAYERS } from "../ui/terms.js";
import { exact, significant } from "./format.js";

/** What the layer table explains is explained there. @param {string} key */
function means(key) {
  return LAYERS.find((column) => column.key === key)?.means ?? "";
}

/** @typedef {{row: Row, part: SpectrumPart}} Side */
/**
 * @typedef {object} Value
 * @property {string} heading
 * @property {string} means
 * @property {(side: Side) => any} read what is copied
 * @property {(x: any, side: Side) => string} text
 */

/** @param {string} key @returns {(side: Side) => any} */
const measure = (key) => ({ row }) => row.measures?.[key];
/** @param {string} low @param {string} high @returns {(side: Side) => any} */
const interval = (low, high) => ({ row }) => (row.measures?.[low] === null || row.measures?.[low] === undefined ? null : [row.measures[low], row.measures[high]]);
/** @param {number} digits @returns {(x: any) => string} */
const digits = (digits) => (x) => fixed(x, digits);
/** @param {number} digits @returns {(x: any) => string} */
const span = (digits) => (x) => (x ? `${fixed(x[0], digits)} to ${fixed(x[1], digits)}` : fixed(null, 0));

/** @type {{title: string, values: Value[]}[]} */
const GROUPS = [
  {
    title: "Fit",
    values: [
      { heading: "Alpha", means: means("alpha"), read: ({ row }) => row.alpha, text: digits(4) },
      { heading: "σ", means: means("sigma"), read: ({ row }) => row.sigma, text: digits(4) },
      { heading: "95% interval", means: "Of alpha, from refits to resampled eigenvalues (bootstrap): it holds the uncertainty of xmin, which σ leaves out. Eigenvalues of one matrix are not independent draws, which it takes them for.", read: interval("alpha_low", "alpha_high"), text: span(3) },
      { heading: "D", means: means("D"), read: ({ row }) => row.D, text: digits(4) },
      { heading: "Goodness of fit p", means: "Share of samples drawn from the fitted law that fit no better than the data. Up to 0.1: not a power law (Clauset, Shalizi, Newman 2009).", read: measure("gof_p"), text: digits(3) },
      { heading: "xmin", means: "Lower end of the fitted tail.", read: ({ row }) => row.xmin, text: significant },
      { heading: "Tail", means: means("tail"), read: ({ row }) => row.num_pl_spikes, text: (x, { row }) => `${whole(x)} / ${whole(row.num_evals)}` },
      { heading: "Alpha of near fits", means: "Smallest and largest alpha of all fits whose D is within a tenth of the smallest: wide where the choice of xmin decides.", read: ({ part }) => part.plateau, text: span(3) },
      { heading: "R²", means: "Of the straight line through the tail in a log–log plot. It describes and tests nothing.", read: ({ part }) => part.fit?.r_squared, text: digits(4) },
    ],
  },
  {
    title: "Error",
    values: [
      { heading: "Relative error", means: means("relative_error"), read: ({ row }) => row.relative_error, text: percent },
      { heading: "SQNR, dB", means: means("sqnr_db"), read: ({ row }) => row.sqnr_db, text: digits(2) },
      { heading: "Spectral error", means: "‖W′ − W‖₂ / ‖W‖₂: largest singular value of the error over that of the weights.", read: measure("spectral_error"), text: percent },
      { heading: "Largest error", means: "Of a single weight, in the units of the weights.", read: measure("max_error"), text: significant },
      { heading: "Cosine", means: "Of the angle between the weights before and after, taken as vectors.", read: ({ row }) => row.cosine, text: digits(6) },
      { heading: "Non-zero", means: means("nonzero_fraction"), read: ({ row }) => row.nonzero_fraction, text: percent },
      { heading: "Distinct values", means: "How many different numbers the weights are.", read: measure("distinct_values"), text: whole },
      { heading: "Left subspace", means: "Overlap of the spaces of the 10 leading left singular vectors before and after: mean squared cosine of the angles between them, 1 if nothing turned.", read: measure("subspace_left"), text: digits(4) },
      { heading: "Right subspace", means: "The same of the right singular vectors.", read: measure("subspace_right"), text: digits(4) },
      { heading: "Spectrum moved, decades", means: "Wasserstein distance between both spectra on the axis of log₁₀ λ: how far an eigenvalue moves on average.", read: measure("log_wasserstein"), text: digits(4) },
      { heading: "Change of alpha", means: "Against the baseline, with the 95% interval of the difference where both were resampled at the same places.", read: interval("delta_alpha_low", "delta_alpha_high"), text: (x, { row }) => (x ? `${change(row.measures?.delta_alpha).replace("%", "")} (${span(2)(x)})` : fixed(null, 0)) },
    ],
  },
  {
    title: "Noise and structure",
    values: [
      { heading: "Noise edge", means: "Largest eigenvalue that rounding noise alone would have: (s²/12)(√N + √M)² for a grid of step s; for schemes without one step, the mean squared error in place of s²/12.", read: ({ part }) => part.noise?.edge, text: significant },
      { heading: "Above the noise", means: "Eigenvalues of the original weights above that edge.", read: ({ part }) => part.above_noise, text: (x, { row }) => (x === null || x === undefined ? fixed(null, 0) : `${whole(x)} / ${whole(row.num_evals)}`) },
      { heading: "Bulk max", means: "Upper edge of the Marchenko–Pastur law fitted to the bulk.", read: ({ part }) => part.bulk?.bulk_max, text: significant },
      { heading: "Spikes", means: "Eigenvalues beyond that edge and its fluctuation.", read: ({ part }) => part.bulk?.spikes, text: whole },
      { heading: "Largest in random order", means: "Largest eigenvalue of the same weights, shuffled.", read: measure("max_rand_eval"), text: significant },
      { heading: "|det X| = 1 at", means: "Eigenvalue from which on the product of all larger ones, at a mean of 1, is 1. SETOL's ideal layer has xmin there, and alpha = 2.", read: ({ part }) => part.det_one, text: significant },
      { heading: "Stable rank", means: means("stable_rank"), read: ({ row }) => row.stable_rank, text: digits(2) },
      { heading: "Log λ max", means: means("log_spectral_norm"), read: ({ row }) => row.log_spectral_norm, text: digits(4) },
    ],
  },
];

/** Two sheets. */
function copyIcon() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 14 14");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M4.5 4.5V1.5H12.5V9.5H9.5M1.5 4.5H9.5V12.5H1.5Z");
  svg.append(path);
  return svg;
}

/** A table for each group; a button copies a line with every digit, another one all of them. */
export function valuesTable() {
  /** @type {Side[]} */
  let sides = [];
  /** @type {string[]} */
  let labels = [];
  const spoken = make("span", { className: "spoken", role: "status" });
  const head = make("tr");
  const body = make("tbody");
  const all = make("button", { type: "button", onclick: () => copy(GROUPS.flatMap(({ values }) => values), "All values") }, "Copy all");
  const element = make(
    "section",
    { className: "layer-values", "aria-label": "Values" },
    make("div", { className: "layer-values-top" }, make("h3", {}, "Values"), all, spoken),
    make("div", { className: "box", tabIndex: 0, role: "region", "aria-label": "Values of both spectra" }, make("table", { className: "data", id: "layer-values" }, make("thead", {}, head), body)),
    terms("What these mean", GROUPS.flatMap(({ values }) => values.map(({ heading, means }) => /** @type {Column<any>} */ ({ key: heading, heading, means, text: () => "" })))),
  );

  /** @param {Value[]} values @param {string} what */
  async function copy(values, what) {
    const text = [["", ...labels], ...values.map((value) => [value.heading, ...sides.map((side) => [value.read(side)].flat().map(exact).join(" to "))])].map((line) => line.join("\t")).join("\n");
    try {
      await navigator.clipboard.writeText(text);
      spoken.textContent = `${what} copied`;
    } catch {
      spoken.textContent = "This browser did not let the page copy";
    }
    element.dataset.copied = what;
    setTimeout(() => delete element.dataset.copied, 1500);
  }

  /** @param {Value} value */
  function line(value) {
    const cells = sides.map((side) => make("td", { className: "number" }, value.text(value.read(side), side)));
    return make("tr", {}, make("th", { scope: "row", title: value.means }, value.heading), ...cells, make("td", { className: "layer-copy" }, make("button", { type: "button", title: `Copy ${value.heading} with every digit`, "aria-label": `Copy ${value.heading}`, onclick: () => copy([value], value.heading) }, copyIcon())));
  }

  return {
    element,
    /** @param {Side[]} shown the baseline's, and the level's if it is another @param {string[]} names */
    show(shown, names) {
      sides = shown;
      labels = names;
      head.replaceChildren(make("th", { scope: "col" }, ""), ...names.map((name) => make("th", { scope: "col", className: "number" }, name)), make("th", { scope: "col", className: "layer-copy" }, make("span", { className: "spoken" }, "Copy")));
      const isLevel = shown.length > 1;
      const has = (/** @type {Value} */ each) => shown.some((side) => each.read(side) !== undefined);
      body.replaceChildren(
        ...GROUPS.filter(({ title }) => isLevel || title !== "Error").flatMap(({ title, values }) => [
          make("tr", { className: "layer-group" }, make("th", { scope: "colgroup", colSpan: shown.length + 2 }, title)),
          ...values.filter(has).map(line),
        ]),
      );
    },
    /** The alpha of a row, with its error, in a few words. @param {Row} row */
    alpha(row) {
      return Number.isFinite(value(row.alpha)) && row.status === "success" ? `${fixed(row.alpha, 3)} ± ${fixed(row.sigma, 3)}` : "no fit";
    },
  };
}
