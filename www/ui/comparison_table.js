// @ts-check
/** @import { Head, ComparisonRow, Row } from "../types.js" */
import { make } from "./dom.js";
import { edges } from "./edges.js";
import { METRICS, Rows } from "./metrics.js";
import { NONE } from "./numbers.js";
import { spark } from "./spark.js";
import { headings, terms } from "./table.js";
import { COMPARISON, EVIDENCE } from "./terms.js";

const [ERROR, ALPHA] = ["relative_error", "alpha"].map((key) => METRICS.find((metric) => metric.key === key) ?? METRICS[0]);

/** A row a level, there from the start, filled as layers finish. */
export function comparisonTable() {
  /** @type {Map<string, HTMLTableCellElement[]>} */
  const cells = new Map();
  /** @type {{level: string, metric: typeof ERROR, against: boolean, drawn: ReturnType<typeof spark>}[]} */
  let sparks = [];
  /** @type {Rows | null} */
  let rows = null;
  let columns = COMPARISON;
  let frame = 0;
  const table = make("table", { className: "data comparison", id: "comparison" });
  const meanings = make("div");
  const element = edges(make("div", { className: "box", tabIndex: 0, role: "region", "aria-label": "Comparison of levels, scrolls sideways" }, table));

  /** @param {string} key @param {string} level @param {number} i */
  function cell(key, level, i) {
    if (!key.startsWith("spark_")) return NONE;
    if (i === 0) return null; // the baseline against itself
    const isAlpha = key === "spark_alpha";
    const drawn = spark(i);
    sparks.push({ level, metric: isAlpha ? ALPHA : ERROR, against: isAlpha, drawn });
    return drawn.element;
  }

  function redraw() {
    frame = 0;
    if (!rows) return;
    const found = rows;
    const layers = found.head.layers.filter(({ counted }) => counted);
    const all = sparks.map((one) => ({ ...one, values: layers.map(({ layer_id }) => found.number(layer_id, one.level, one.metric, one.against)) }));
    for (const metric of [ERROR, ALPHA]) {
      const same = all.filter((one) => one.metric === metric);
      let most = 0;
      for (const { values } of same) for (const x of values) if (Number.isFinite(x)) most = Math.max(most, Math.abs(x));
      for (const { drawn, values, against } of same) drawn.draw(values, most, against);
    }
  }

  return {
    element,
    /** What the columns mean, for below the table. */
    meanings,
    on() {},
    /** @param {Head} head */
    begin(head) {
      cells.clear();
      sparks = [];
      rows = new Rows(head);
      columns = head.settings.measures?.trust === "true" ? [...COMPARISON, ...EVIDENCE] : COMPARISON;
      meanings.replaceChildren(terms("What the columns mean", columns));
      table.replaceChildren(
        make("caption", { className: "spoken" }, "Levels compared with the baseline"),
        headings(columns),
        make(
          "tbody",
          {},
          ...head.levels.map((level, i) => {
            const row = columns.slice(1).map(({ key, kind }) => make("td", { className: kind ?? "number" }, cell(key, level.name, i)));
            cells.set(level.name, row);
            return make("tr", {}, make("th", { scope: "row", className: "name" }, level.label), ...row);
          }),
        ),
      );
    },
    /** @param {Row[]} finished */
    add(finished) {
      rows?.add(finished);
      if (frame === 0) frame = requestAnimationFrame(redraw); // with what else the rows change: another frame would paint the page again
    },
    /** @param {ComparisonRow[]} comparison */
    show(comparison) {
      for (const row of comparison) {
        cells.get(row.quantization)?.forEach((cell, i) => {
          if (columns[i + 1].kind === "spark") return;
          const text = columns[i + 1].text(row);
          if (cell.textContent !== text) cell.textContent = text;
        });
      }
    },
  };
}
