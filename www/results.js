// @ts-check
/**
 * What was found, from the verdict down to the layers: for the page, and for the single file that holds results only.
 * @import { ComparisonRow, Head, Row, Status, Verdict } from "./types.js"
 */
import { alphaDistribution } from "./charts/alpha_distribution.js";
import { byLayer } from "./charts/by_layer.js";
import { heatMap } from "./charts/heat_map.js";
import { spread } from "./charts/spread.js";
import { summary } from "./charts/summary.js";
import { trade } from "./charts/trade.js";
import { comparisonTable } from "./ui/comparison_table.js";
import { events, make } from "./ui/dom.js";
import { inView } from "./ui/in_view.js";
import { layerTable } from "./ui/layer_table.js";
import { runNotes } from "./ui/run_notes.js";
import { verdict } from "./ui/verdict.js";

/** Tells "open" with {name, level} of a layer to be looked at, and "visible" with the ids of the layers in view. */
export function results() {
  const { on, tell } = events();
  const notes = runNotes();
  const said = verdict();
  const comparison = comparisonTable();
  const pictures = { trade: trade(), summary: summary(), heat: heatMap(), byLayer: byLayer(), distribution: alphaDistribution(), spread: spread() };
  const layers = layerTable();
  const overRows = [comparison, pictures.heat, pictures.byLayer, pictures.distribution, pictures.spread, layers];
  const overLevels = [comparison, pictures.trade, pictures.summary];

  const card = (/** @type {string} */ title, /** @type {Node[]} */ ...children) => make("div", { className: "card" }, make("h3", {}, title), ...children);
  const element = make(
    "div",
    { className: "results" },
    notes.element,
    make("div", { className: "card verdict-card" }, said.element),
    card("Levels compared", comparison.element, notes.notes, comparison.meanings),
    make("div", { className: "pictures" }, card("Size against damage", pictures.trade.element), card("By level", pictures.summary.element)),
    card("Layers as a map", pictures.heat.element),
    card("By layer", pictures.byLayer.element),
    make("div", { className: "pictures" }, card("Distribution of alpha", pictures.distribution.element), card("Spread over layers", pictures.spread.element)),
    card("Layers", layers.element),
  );

  for (const part of [pictures.heat, pictures.byLayer, layers]) part.on("open", (what) => tell("open", what));
  const view = inView(layers.element, (ids) => tell("visible", ids));
  /** @type {Head | null} */
  let shown = null;

  return {
    element,
    on,
    /** The table of layers, for what else belongs to it. */
    layers,
    /** @param {Head} head */
    begin(head) {
      shown = head;
      notes.begin(head);
      said.begin();
      for (const part of new Set([...overRows, ...overLevels])) part.begin(head);
      view.begin();
    },
    /** Lets go of all rows; what the reader has chosen stays chosen. */
    forget() {
      if (shown) this.begin({ ...shown, layers: [], skipped: [] });
    },
    /** @param {Row[]} rows */
    add(rows) {
      for (const part of overRows) part.add(rows);
    },
    /** @param {ComparisonRow[]} rows @param {Verdict | null} words @param {boolean} isPart */
    compare(rows, words, isPart) {
      for (const part of overLevels) part.show(rows);
      said.show(words, isPart);
    },
    /** @param {"running" | Status} status */
    status(status) {
      notes.status(status);
    },
  };
}
