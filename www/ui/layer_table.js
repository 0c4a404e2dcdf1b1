// @ts-check
/** @import { Head, LayerInfo, Row } from "../types.js" */
import { events, make, shown } from "./dom.js";
import { count, shape } from "./numbers.js";
import { headings, terms } from "./table.js";
import { edges } from "./edges.js";
import { LAYERS } from "./terms.js";
import { rowWindow } from "./window.js";

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
 * as layers finish, so nothing moves; of a long table only those in view are in the page.
 * Tells "open" with {name, level} when a layer's name is chosen.
 */
export function layerTable() {
  const { on, tell } = events();
  const level = make("select", { id: "layer-level", onchange: build });
  const filter = make("input", { type: "search", id: "layer-filter", placeholder: "part of a name", spellcheck: false, autocomplete: "off", oninput: build });
  const shownCount = make("output", { className: "quiet", htmlFor: "layer-level layer-filter", id: "layer-count" });
  const body = make("tbody", { onclick: choose });
  const columns = [...NAMES, ...LAYERS];
  const table = make(
    "table",
    { className: "data layers", id: "layers-table" },
    make("caption", { className: "spoken" }, "Results by layer"),
    make("colgroup", {}, ...columns.map(({ key }) => make("col", { className: `col-${key} ${key}` }))),
    headings(columns),
    body,
  );
  const box = make("div", { className: "box tall", tabIndex: 0, role: "region", "aria-label": "Results by layer, scrolls" }, table);
  const element = make(
    "div",
    {},
    make("div", { className: "filters" }, make("label", { htmlFor: "layer-level" }, "Level"), level, make("label", { htmlFor: "layer-filter" }, "Name"), filter, shownCount),
    edges(box),
    terms("What the columns mean", columns),
  );

  /** @type {Head | null} */
  let head = null;
  /** @type {Map<string, Row>} */
  let rows = new Map();
  /** What the rows of the table stand for, in order. @type {{layer: LayerInfo, level: {name: string, label: string}}[]} */
  let lines = [];
  /** @type {Map<string, number>} */
  let places = new Map();
  const view = rowWindow(box, table, body, (i) => line(lines[i].layer, lines[i].level));

  /** @param {string} level @param {number} layer */
  const key = (level, layer) => `${layer} ${level}`;

  /** @param {Event} event */
  function choose({ target }) {
    const button = target instanceof Element ? target.closest("button.layer-open") : null;
    const { layer, level } = button?.closest("tr")?.dataset ?? {};
    const name = head?.layers.find(({ layer_id }) => String(layer_id) === layer)?.name;
    if (name !== undefined) tell("open", { name, level });
  }

  function build() {
    if (!head) return;
    const wanted = filter.value.trim().toLowerCase();
    const levels = head.levels.filter(({ name }) => level.value === ALL || name === level.value);
    const layers = head.layers.filter(({ name }) => wanted === "" || shown(name).toLowerCase().includes(wanted));
    lines = layers.flatMap((layer) => levels.map((each) => ({ layer, level: each })));
    places = new Map(lines.map(({ layer, level: { name } }, i) => [key(name, layer.layer_id), i]));
    table.classList.toggle("one-level", level.value !== ALL);
    shownCount.textContent = count(lines.length, "row");
    box.scrollTop = 0;
    view.begin(lines.length);
  }

  /** @param {LayerInfo} layer @param {{name: string, label: string}} level */
  function line(layer, level) {
    const tds = LAYERS.map(({ key, kind }) => make("td", { className: kind ?? "number pending" }, key === "shape" ? `${shape(layer.shape)} ${layer.dtype}` : PENDING));
    const row = rows.get(key(level.name, layer.layer_id));
    if (row) fill(tds, row);
    // The single file has no engine, and so no layer view.
    const opens = document.getElementById("layer-view") !== null;
    return make(
      "tr",
      { "data-layer": String(layer.layer_id), "data-level": level.name },
      make("th", { scope: "row", className: "name", title: shown(layer.name) }, opens ? make("button", { type: "button", className: "layer-open" }, shown(layer.name)) : shown(layer.name)),
      make("td", { className: "number" }, String(layer.layer_id)),
      make("td", { className: "text level" }, level.label),
      ...tds,
    );
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
    on,
    /** @param {Head} begun */
    begin(begun) {
      head = begun;
      rows = new Map();
      filter.value = "";
      const before = level.value;
      level.replaceChildren(...begun.levels.map(({ name, label }) => make("option", { value: name }, label)), make("option", { value: ALL }, "All levels"));
      level.value = begun.levels.some(({ name }) => name === before) ? before : begun.levels[begun.levels.length - 1]?.name ?? ALL; // the baseline has no errors to show
      build();
    },
    /** @param {Row[]} finished */
    add(finished) {
      for (const row of finished) {
        const at = key(row.quantization, row.layer_id);
        rows.set(at, row);
        const line = view.row(places.get(at) ?? -1);
        if (line) fill(Array.from(line.cells).slice(NAMES.length), row);
      }
    },
  };
}
