// @ts-check
/**
 * How far two models are apart, layer by layer: as WeightWatcher's `distances` has it.
 * @import { DistanceRow } from "../types.js"
 * @import { Column } from "../ui/terms.js"
 */
import { significant } from "../layer/format.js";
import { edges } from "../ui/edges.js";
import { events, make, shown } from "../ui/dom.js";
import { gauge } from "../ui/gauge.js";
import { count, value, whole } from "../ui/numbers.js";
import { headings, terms } from "../ui/table.js";
import { rowWindow } from "../ui/window.js";

/** The engine's methods: words, and what they measure. */
const METHODS = /** @type {Record<string, [string, string]>} */ ({
  raw: ["raw", "‖W₁ − W₂‖ of the whole tensors in the Frobenius norm, and of the biases."],
  euclidean: ["euclidean", "‖W₁ − W₂‖ in the Frobenius norm, of a convolution the mean over its kernel positions."],
  cka: ["CKA", "Alignment ‖W₁ᵀW₂‖ / √(‖W₁ᵀW₁‖ ‖W₂ᵀW₂‖), not centred: 1 for multiples of one another, 0 where nothing is in common. Not a distance: larger is nearer."],
});

/** @type {Column<DistanceRow>[]} */
const COLUMNS = [
  { key: "name", heading: "Layer", kind: "name", means: "Name of the layer in both models, and its kernel position where each is a row.", text: (row) => shown(row.name) + (row.slice_id === null ? "" : ` [${row.slice_id}]`) },
  { key: "id", heading: "Id", means: "WeightWatcher's layer_id in the first model.", text: (row) => whole(row.layer_id) },
  { key: "delta_W", heading: "Δ W", means: "The distance of the weights, by the chosen method.", text: (row) => significant(row.delta_W), source: ["WeightWatcher", "https://github.com/CalculatedContent/WeightWatcher"] },
  { key: "delta_b", heading: "Δ b", means: "The distance of the biases, if both models have them: by the method raw only.", text: (row) => significant(row.delta_b) },
  { key: "N", heading: "N", means: "Longer side of the matrix.", text: (row) => whole(row.N) },
  { key: "M", heading: "M", means: "Shorter side.", text: (row) => whole(row.M) },
  { key: "reason", heading: "Missing", kind: "text failed", means: "Why there is no number.", text: (row) => shown(row.reason ?? "") },
];

/** Tells "measure" with a method, "cancel", and "want" with the name of a file. */
export function pairDistances() {
  const { on, tell } = events();
  const method = make("select", { id: "distance-method", onchange: explain }, ...Object.entries(METHODS).map(([name, [words]]) => make("option", { value: name }, words)));
  const about = make("p", { className: "quiet note", id: "distance-about" });
  const measure = make("button", { type: "button", id: "measure-distances", onclick: () => tell("measure", method.value) }, "Measure");
  const cancel = make("button", { type: "button", id: "distances-cancel", disabled: true, onclick: () => tell("cancel") }, "Cancel");
  const progress = gauge("distances-", "Measuring", "layer");
  const said = make("p", { id: "distances-said" });
  const body = make("tbody");
  const table = make("table", { className: "data layers distances", id: "distances-table" }, make("caption", { className: "spoken" }, "Distances of the layers of both models"), make("colgroup", {}, ...COLUMNS.map(({ key }) => make("col", { className: `col-${key}` }))), headings(COLUMNS), body);
  const box = make("div", { className: "box tall", tabIndex: 0, role: "region", "aria-label": "Distances by layer, scrolls" }, table);
  const buttons = ["distances.csv", "distances.json"].map((name) => make("button", { type: "button", "data-file": name, onclick: () => tell("want", name) }, name));
  const found = make("div", { className: "distances-found", hidden: true }, said, make("div", { className: "downloads" }, make("span", { className: "quiet" }, "Download"), make("div", { className: "buttons" }, ...buttons)), edges(box), terms("What the columns mean", COLUMNS));
  const element = make(
    "div",
    { className: "card" },
    make("h3", {}, "Distances by layer"),
    make("div", { className: "filters" }, make("label", { htmlFor: "distance-method" }, "Method"), method),
    about,
    make("div", { className: "run-bar" }, make("div", { className: "buttons" }, measure, cancel), ...progress.elements),
    found,
  );
  /** @type {DistanceRow[]} */
  let rows = [];
  const view = rowWindow(box, table, body, (i) => line(rows[i]));
  explain();

  function explain() {
    about.textContent = METHODS[method.value][1];
  }

  /** What was found, in a sentence. @param {import("../session.js").Distances | null} distances */
  function summary(distances) {
    if (!distances?.report) return "";
    const { report, status } = distances;
    const means = /** @type {[import("../types.js").Maybe, string][]} */ ([[report.delta_W, "Δ W"], [report.delta_b, "Δ b"]]).filter(([x]) => Number.isFinite(value(x))).map(([x, name]) => `${name} ${significant(x)}`);
    const over = `Over ${count(report.rows.length, "row")}${status === "complete" ? "" : " finished so far"}`;
    return `${over}, ${METHODS[report.method][0]}: in the mean ${means.join(" and ") || "no number"}.${report.unmatched.length ? ` ${count(report.unmatched.length, "layer")} without a partner of that name: distances.json has them.` : ""}`;
  }

  /** @param {DistanceRow} row */
  function line(row) {
    return make(
      "tr",
      {},
      ...COLUMNS.map(({ kind, text }) => {
        const words = text(row);
        return kind === "name" ? make("th", { scope: "row", className: "name", title: words }, words) : make("td", { className: kind ?? "number", ...(kind ? { title: words } : {}) }, words);
      }),
    );
  }

  return {
    element,
    on,
    /** @param {import("../session.js").Distances | null} distances */
    show(distances) {
      const report = distances?.report ?? null;
      rows = report?.rows ?? [];
      found.hidden = !report || (rows.length === 0 && distances?.status === "running");
      view.begin(rows.length);
      if (distances) {
        method.value = distances.method;
        explain();
      }
    },
    /** @param {import("../session.js").Distances | null} distances @param {{ready: boolean, running: boolean}} state */
    update(distances, { ready, running }) {
      said.textContent = summary(distances);
      measure.disabled = !ready;
      method.disabled = running;
      cancel.disabled = !running;
      progress.update(distances, running);
      for (const button of buttons) button.disabled = running;
    },
    progress: progress.progress,
  };
}
