// @ts-check
/** @import { PairRow } from "../types.js" */
import { events, make, shown } from "../ui/dom.js";
import { count } from "../ui/numbers.js";
import { headings, terms } from "../ui/table.js";
import { rowWindow } from "../ui/window.js";
import { COLUMNS, NAME } from "./columns.js";

/** A row a weight, the worst first. Tells "open" with the row whose name was chosen. */
export function pairTable() {
  const { on, tell } = events();
  const filter = make("input", { type: "search", id: "pair-filter", placeholder: "part of a name or scheme", spellcheck: false, autocomplete: "off", oninput: build });
  const shownCount = make("output", { className: "quiet", htmlFor: "pair-filter", id: "pair-count" });
  const body = make("tbody", { onclick: choose });
  const columns = [NAME, ...COLUMNS];
  const table = make(
    "table",
    { className: "data layers pairs", id: "pairs-table" },
    make("caption", { className: "spoken" }, "Weights of both models, the largest relative error first"),
    make("colgroup", {}, ...columns.map(({ key }) => make("col", { className: `col-${key}` }))),
    headings(columns),
    body,
  );
  const box = make("div", { className: "box tall", tabIndex: 0, role: "region", "aria-label": "Weights of both models, scrolls" }, table);
  const element = make("div", {}, make("div", { className: "filters" }, make("label", { htmlFor: "pair-filter" }, "Name"), filter, shownCount), box, terms("What the columns mean", columns));
  /** @type {PairRow[]} */
  let rows = [];
  /** @type {PairRow[]} */
  let lines = [];
  const view = rowWindow(box, table, body, (i) => line(lines[i], i));

  /** @param {Event} event */
  function choose({ target }) {
    const button = target instanceof Element ? target.closest("button.layer-open") : null;
    const row = lines[Number(button?.closest("tr")?.dataset.line ?? -1)];
    if (row) tell("open", row);
  }

  function build() {
    const wanted = filter.value.trim().toLowerCase();
    lines = rows.filter(({ name, quantized_name, scheme }) => wanted === "" || `${shown(name)} ${shown(quantized_name)} ${scheme}`.toLowerCase().includes(wanted));
    shownCount.textContent = count(lines.length, "weight");
    const at = box.scrollTop;
    view.begin(lines.length);
    box.scrollTop = at; // rows still come in while the reader is somewhere
  }

  /** @param {PairRow} row @param {number} i */
  function line(row, i) {
    return make(
      "tr",
      { "data-line": String(i) },
      make("th", { scope: "row", className: "name", title: shown(row.name) }, make("button", { type: "button", className: "layer-open" }, shown(row.name))),
      ...COLUMNS.map(({ kind, text }) => {
        const words = text(row);
        return make("td", { className: kind ?? "number", ...(kind ? { title: words } : {}) }, words);
      }),
    );
  }

  return {
    element,
    on,
    /** @param {PairRow[]} all the worst first */
    show(all) {
      const focused = document.activeElement;
      const name = focused?.classList.contains("layer-open") && body.contains(focused) ? focused.textContent : null;
      rows = all;
      build();
      if (name === null) return;
      const again = Array.from(body.querySelectorAll("button")).find(({ textContent }) => textContent === name);
      again?.focus({ preventScroll: true });
    },
  };
}
