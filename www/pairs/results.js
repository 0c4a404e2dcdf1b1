// @ts-check
/** What the comparison of two models has found. @import { LayerInfo, PairReport, Status, Unmatched } from "../types.js" */
import { events, make, shown } from "../ui/dom.js";
import { count, fixed, percent, signed, whole } from "../ui/numbers.js";
import { save } from "../ui/save.js";
import { pairCharts } from "./charts.js";
import { pairDistances } from "./distances.js";
import { pairTable } from "./pair_table.js";
import { nameOf } from "../ui/model_name.js";

/** More weights without a partner are in pairs.json. */
const LISTED = 500;

/** Tells "open" with the row to look at, and "want" with the name of a file. */
export function pairResults() {
  const { on, tell } = events();
  const state = make("p", { className: "badge", id: "pairs-status" });
  const what = make("p", { className: "facts", id: "pairs-facts" });
  const totals = make("p", { className: "pairs-totals", id: "pairs-totals" });
  const notes = make("ul", { className: "notes" });
  const charts = pairCharts();
  const table = pairTable();
  const distances = pairDistances();
  const unmatched = make("div", { className: "pair", id: "pairs-unmatched" });
  const lone = make("div", { className: "card" }, make("h3", {}, "Only in one of the models"), unmatched);
  const buttons = ["pairs.csv", "pairs.json"].map((name) => make("button", { type: "button", "data-file": name, onclick: () => tell("want", name) }, name));
  const downloads = make("div", { className: "downloads" }, make("span", { className: "quiet" }, "Download"), make("div", { className: "buttons" }, ...buttons));
  const element = make(
    "div",
    {},
    make("div", { className: "results-top" }, make("h2", { id: "pairs-heading" }, "Two models compared"), downloads),
    make("div", { className: "facts-line" }, state, what),
    make("div", { className: "card" }, totals, notes),
    charts.element,
    make("div", { className: "card" }, make("h3", {}, "Weights, the worst first"), table.element),
    lone,
    distances.element,
  );
  for (const part of [charts, table]) part.on("open", (row) => tell("open", row));

  /** @param {Unmatched[]} list @param {string} where @param {string} id */
  function listed(list, where, id) {
    if (list.length === 0) return null;
    const more = list.length > LISTED ? [make("p", { className: "quiet note" }, `and ${whole(list.length - LISTED)} more: pairs.json has all`)] : [];
    return make(
      "div",
      {},
      make("h4", { id }, `${count(list.length, "weight")} only in ${where}`),
      make(
        "div",
        { className: "box short", tabIndex: 0, role: "region", "aria-labelledby": id },
        make(
          "table",
          { className: "plain" },
          make("thead", {}, make("tr", {}, ...["Weight", "Stored as", "Why"].map((text) => make("th", { scope: "col" }, text)))),
          make("tbody", {}, ...list.slice(0, LISTED).map(({ name, scheme, reason }) => make("tr", {}, make("th", { scope: "row" }, shown(name)), make("td", {}, shown(scheme)), make("td", {}, shown(reason))))),
        ),
      ),
      ...more,
    );
  }

  return {
    element,
    on,
    distances,
    /** @param {LayerInfo[]} layers the original's */
    begin(layers) {
      charts.begin(layers);
      table.show([]);
      totals.textContent = "";
      what.textContent = "";
      lone.hidden = true;
    },
    /** @param {PairReport} report */
    show(report) {
      const { original, quantized, totals: all, pairs, only_original, only_quantized } = report;
      what.textContent = `${nameOf(original)} (original) and ${nameOf(quantized)}`;
      totals.textContent =
        all.pairs === 0
          ? "No weight is finished yet."
          : `Over ${count(all.pairs, "weight")} the relative error is ${percent(all.relative_error)} (SQNR ${fixed(all.sqnr_db, 1)} dB) at ${fixed(all.bits_per_weight, 3)} bits a weight in place of ${fixed(all.original_bits_per_weight, 3)}. Alpha changes by ${signed(all.alpha_change_mean, 3)} in the mean, by ${fixed(all.alpha_abs_change_mean, 3)} in magnitude.`;
      notes.replaceChildren(...report.notes.map((note) => make("li", {}, shown(note))));
      charts.show(pairs);
      table.show(pairs);
      unmatched.replaceChildren(...[listed(only_original, nameOf(original), "only-original"), listed(only_quantized, nameOf(quantized), "only-other")].filter((part) => part !== null));
      lone.hidden = only_original.length + only_quantized.length === 0;
    },
    /** @param {"running" | Status} status @param {boolean} canSave */
    status(status, canSave) {
      state.textContent = { running: "running", complete: "complete", cancelled: "stopped: part of the weights" }[status];
      state.dataset.status = status;
      for (const button of buttons) button.disabled = !canSave;
    },
    /** @param {string} name @param {string} text */
    save(name, text) {
      save(name, new Blob([text], { type: name.endsWith(".csv") ? "text/csv" : "application/json" }));
    },
  };
}
