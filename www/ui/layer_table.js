// @ts-check
/** @import { Head, LayerInfo, Row } from "../types.js" */
import { make, shown } from "./dom.js";
import { count, shape } from "./numbers.js";
import { headings, terms } from "./table.js";
import { LAYERS } from "./terms.js";

/** A level that stands for all of them in the filter. */
const ALL = "";
const PENDING = "·";
const STATUS = LAYERS.findIndex(({ key }) => key === "status");

/** @type {import("./terms.js").Column<any>[]} */
const NAMES = [
  { key: "name", heading: "Layer", kind: "name", means: "Name of the tensor, without .weight.", text: () => "" },
  { key: "id", heading: "Id", kind: "number", means: "WeightWatcher's layer_id: the layer's place in the file's list.", text: () => "" },
  { key: "level", heading: "Level", kind: "text level", means: "How the weights were quantized.", text: () => "" },
];

/**
 * A row for every layer of the chosen level. Rows stand from the start in the table's order and are filled
 * as layers finish, so nothing moves.
 */
export function layerTable() {
  const level = make("select", { id: "layer-level", onchange: build });
  const filter = make("input", { type: "search", id: "layer-filter", placeholder: "part of a name", spellcheck: false, autocomplete: "off", oninput: build });
  const shownCount = make("output", { className: "quiet", htmlFor: "layer-level layer-filter", id: "layer-count" });
  const body = make("tbody");
  const columns = [...NAMES, ...LAYERS];
  const table = make(
    "table",
    { className: "data layers", id: "layers-table" },
    make("caption", { className: "spoken" }, "Results by layer"),
    make("colgroup", {}, ...columns.map(({ key }) => make("col", { className: `col-${key} ${key}` }))),
    headings(columns),
    body,
  );
  const element = make(
    "div",
    {},
    make("div", { className: "filters" }, make("label", { htmlFor: "layer-level" }, "Level"), level, make("label", { htmlFor: "layer-filter" }, "Name"), filter, shownCount),
    make("div", { className: "box tall", tabIndex: 0, role: "region", "aria-label": "Results by layer, scrolls" }, table),
    terms("What the columns mean", columns),
  );

  /** @type {Head | null} */
  let head = null;
  /** @type {Map<string, Row>} */
  let rows = new Map();
  /** @type {Map<string, HTMLTableCellElement[]>} */
  let cells = new Map();

  /** @param {string} level @param {number} layer */
  const key = (level, layer) => `${layer} ${level}`;

  function build() {
    if (!head) return;
    const wanted = filter.value.trim().toLowerCase();
    const levels = head.levels.filter(({ name }) => level.value === ALL || name === level.value);
    const layers = head.layers.filter(({ name }) => wanted === "" || shown(name).toLowerCase().includes(wanted));
    cells = new Map();
    const fragment = document.createDocumentFragment();
    for (const layer of layers) for (const each of levels) fragment.append(line(layer, each));
    body.replaceChildren(fragment);
    table.classList.toggle("one-level", level.value !== ALL);
    shownCount.textContent = count(layers.length * levels.length, "row");
  }

  /** @param {LayerInfo} layer @param {{name: string, label: string}} level */
  function line(layer, level) {
    const tds = LAYERS.map(({ key, kind }) => make("td", { className: kind ?? "number pending" }, key === "shape" ? `${shape(layer.shape)} ${layer.dtype}` : PENDING));
    const at = key(level.name, layer.layer_id);
    cells.set(at, tds);
    const row = rows.get(at);
    if (row) fill(tds, row);
    return make("tr", {}, make("th", { scope: "row", className: "name", title: shown(layer.name) }, shown(layer.name)), make("td", { className: "number" }, String(layer.layer_id)), make("td", { className: "text level" }, level.label), ...tds);
  }

  /** @param {HTMLTableCellElement[]} tds @param {Row} row */
  function fill(tds, row) {
    tds.forEach((td, i) => {
      td.textContent = shown(LAYERS[i].text(row));
      td.classList.remove("pending");
    });
    const status = tds[STATUS];
    status.title = status.textContent ?? "";
    status.classList.toggle("failed", row.status === "failed");
  }

  return {
    element,
    on() {},
    /** @param {Head} begun */
    begin(begun) {
      head = begun;
      rows = new Map();
      filter.value = "";
      const before = level.value;
      level.replaceChildren(...begun.levels.map(({ name, label }) => make("option", { value: name }, label)), make("option", { value: ALL }, "All levels"));
      level.value = begun.levels.some(({ name }) => name === before) ? before : begun.levels[0]?.name ?? ALL;
      build();
    },
    /** @param {Row[]} finished */
    add(finished) {
      for (const row of finished) {
        const at = key(row.quantization, row.layer_id);
        rows.set(at, row);
        const tds = cells.get(at);
        if (tds) fill(tds, row);
      }
    },
  };
}
