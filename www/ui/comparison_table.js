// @ts-check
/** @import { Head, ComparisonRow } from "../types.js" */
import { make } from "./dom.js";
import { NONE } from "./numbers.js";
import { COMPARISON } from "./terms.js";
import { headings } from "./table.js";

/** A row a level, there from the start, filled as layers finish. */
export function comparisonTable() {
  /** @type {Map<string, HTMLTableCellElement[]>} */
  const cells = new Map();
  const body = make("tbody");
  const table = make("table", { className: "data comparison", id: "comparison" }, make("caption", { className: "spoken" }, "Levels compared with the baseline"), headings(COMPARISON), body);
  const element = make("div", { className: "box", tabIndex: 0, role: "region", "aria-label": "Comparison of levels, scrolls sideways" }, table);

  return {
    element,
    on() {},
    /** @param {Head} head */
    begin(head) {
      cells.clear();
      body.replaceChildren(
        ...head.levels.map((level) => {
          const row = COMPARISON.slice(1).map((column) => make("td", { className: column.kind ?? "number" }, NONE));
          cells.set(level.name, row);
          return make("tr", {}, make("th", { scope: "row", className: "name" }, level.label), ...row);
        }),
      );
    },
    /** @param {ComparisonRow[]} rows */
    show(rows) {
      for (const row of rows) {
        cells.get(row.quantization)?.forEach((cell, i) => {
          const text = COMPARISON[i + 1].text(row);
          if (cell.textContent !== text) cell.textContent = text;
        });
      }
    },
  };
}
