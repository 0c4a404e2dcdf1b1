// @ts-check
/**
 * One weight in both models, over the page.
 * @import { PairRow, PairSpectra } from "../types.js"
 */
import { significant } from "../layer/format.js";
import { events, make, shown as spelled } from "../ui/dom.js";
import { fixed, percent, shape, signed, whole } from "../ui/numbers.js";
import { COLUMNS } from "./columns.js";
import { spectraChart } from "./spectra_chart.js";

const means = (/** @type {string} */ key) => COLUMNS.find((column) => column.key === key)?.means ?? "";

/** Of the pair, the error first. @type {[string, string, (row: PairRow) => string][]} */
const OF_PAIR = [
  ["Relative error", means("relative_error"), (row) => percent(row.relative_error)],
  ["SQNR, dB", means("sqnr_db"), (row) => fixed(row.sqnr_db, 2)],
  ["Largest error", means("max_error_share"), (row) => percent(row.max_error_share)],
  ["Non-zero", "Share of weights that are not zero in the other model.", (row) => percent(row.nonzero_fraction)],
  ["Spectrum moved, decades", means("log_spectrum_distance"), (row) => fixed(row.log_spectrum_distance, 4)],
  ["λ max ratio", means("lambda_max_ratio"), (row) => fixed(row.lambda_max_ratio, 5)],
  ["Δ alpha", means("alpha_change"), (row) => signed(row.alpha_change, 4)],
];

/** @param {(row: PairRow) => Promise<PairSpectra>} ask for both spectra of a row */
export function pairView(ask) {
  const { on, tell } = events();
  const title = make("h2", { id: "pair-title", tabIndex: -1 });
  const facts = make("p", { className: "facts", id: "pair-facts" });
  const state = make("p", { className: "layer-state", role: "status", id: "pair-state" });
  const before = make("button", { type: "button", id: "pair-previous", onclick: () => step(-1) }, "‹ Previous");
  const after = make("button", { type: "button", id: "pair-next", onclick: () => step(1) }, "Next ›");
  const close = make("button", { type: "button", id: "pair-close", "aria-label": "Close the view of this weight", onclick: () => element.close() }, "×");
  const values = make("table", { className: "data", id: "pair-values" });
  /** @type {{spectra: PairSpectra["spectra"]}} */
  const now = { spectra: null };
  const picture = spectraChart(now);
  const element = make(
    "dialog",
    { className: "layer-view", id: "pair-view", "aria-labelledby": "pair-title", onclose: closed },
    make("header", { className: "layer-top" }, make("div", { className: "layer-name" }, title, facts), make("div", { className: "layer-controls" }, before, after, close)),
    make(
      "div",
      { className: "layer-body" },
      make("div", { className: "layer-line" }, state),
      make("div", { className: "layer-main" }, picture.element, make("section", { className: "layer-values", "aria-label": "Values" }, make("div", { className: "layer-values-top" }, make("h3", {}, "Values")), make("div", { className: "box", tabIndex: 0, role: "region", "aria-label": "Values of both models" }, values))),
    ),
  );

  /** @type {PairRow[]} */
  let rows = [];
  let at = 0;
  let opened = 0;

  /** @param {PairRow} row */
  function tabulate(row) {
    const line = (/** @type {string} */ heading, /** @type {string} */ meaning, /** @type {string[]} */ ...cells) => make("tr", {}, make("th", { scope: "row", title: meaning }, heading), ...cells.map((text) => make("td", { className: "number", colSpan: 3 - cells.length }, text)));
    const fits = now.spectra?.map(({ fit }) => fit) ?? [null, null];
    const both = (/** @type {(fit: import("../types.js").Fit | null) => string} */ text) => fits.map(text);
    values.replaceChildren(
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, ""), make("th", { scope: "col", className: "number" }, "Original"), make("th", { scope: "col", className: "number" }, "Other"))),
      make(
        "tbody",
        {},
        ...OF_PAIR.map(([heading, meaning, text]) => line(heading, meaning, text(row))),
        line("Stored as", "How each model stores it.", spelled(row.original_scheme), spelled(row.scheme)),
        line("Bits / weight", means("bits_per_weight"), fixed(row.original_bits_per_weight, 3), fixed(row.bits_per_weight, 3)),
        line("Alpha", "Exponent of the power law fitted to the tail.", fixed(row.original_alpha, 4), fixed(row.alpha, 4)),
        line("σ", "Standard error of alpha for a tail of this length.", ...both((fit) => fixed(fit?.sigma, 4))),
        line("D", "Kolmogorov–Smirnov distance between the tail and its fit.", ...both((fit) => fixed(fit?.D, 4))),
        line("xmin", "Lower end of the fitted tail.", ...both((fit) => significant(fit?.xmin))),
        line("Tail", "Eigenvalues in the fitted tail.", ...both((fit) => whole(fit?.tail_len))),
      ),
    );
  }

  /** @param {number} place */
  async function show(place) {
    const row = rows[place];
    if (!row) return;
    at = place;
    const mine = ++opened;
    now.spectra = null;
    title.textContent = spelled(row.name);
    facts.textContent = [shape(row.shape), row.quantized_name === row.name ? "" : `there ${spelled(row.quantized_name)}`, spelled(row.layout), `weight ${whole(place + 1)} of ${whole(rows.length)}, the worst first`].filter(Boolean).join(" · ");
    before.disabled = place === 0;
    after.disabled = place === rows.length - 1;
    state.textContent = "Computing both spectra …";
    element.dataset.state = "working";
    tabulate(row);
    picture.redraw("");
    if (!element.open) element.showModal();
    try {
      const found = await ask(row);
      if (mine !== opened) return;
      now.spectra = found.spectra;
      state.textContent = found.row.reason ? `${spelled(found.row.reason)}.` : found.spectra ? "" : "No spectrum is taken of this weight: it is no layer that is analysed.";
      tabulate(found.row);
      picture.redraw();
      element.dataset.state = "done";
    } catch (error) {
      if (mine !== opened) return;
      state.textContent = error instanceof Error && error.name !== "cancelled" ? error.message : "Stopped: open the weight again to go on.";
      element.dataset.state = "failed";
    }
  }

  /** @param {number} by */
  function step(by) {
    void show(at + by);
    if (document.activeElement === document.body || (document.activeElement instanceof HTMLButtonElement && document.activeElement.disabled)) title.focus();
  }

  function closed() {
    opened += 1;
    now.spectra = null;
    tell("close");
  }

  return {
    element,
    on,
    /** @param {PairRow[]} all in the order to step through @param {PairRow} row */
    open(all, row) {
      rows = all;
      const isOpen = element.open;
      void show(rows.indexOf(row));
      if (!isOpen) title.focus();
    },
    /** With the rows of the comparison it lets go of that. */
    close() {
      if (element.open) element.close();
      rows = [];
    },
  };
}
