// @ts-check
/** @import { Head, LayerInfo, Row } from "../types.js" */
import { events, make, shown } from "../ui/dom.js";
import { NONE } from "../ui/numbers.js";
import { Rows, changeOf, measured } from "../ui/metrics.js";
import { chart } from "./chart.js";
import { palette } from "./palette.js";
import { frame, metricChoice, numbersBeside, table } from "./picture_parts.js";

const CELL = 24;
const AROUND = { top: 12, bottom: 92, right: 12 };
/** With more cells than this the colours end short of the extremes, so that one outlier does not wash out the others. */
const MANY = 60;
const TRIMMED = 0.02;
/** Widest names of rows, in pixels. */
const NAMES = 170;

/**
 * Any measure of every layer as colour: block by module at one level, or level by layer. Tells "open" with
 * {name, layer_id, level} of a cell that was clicked.
 */
export function heatMap() {
  const { on, tell } = events();
  /** @type {Rows | null} */
  let rows = null;
  const arrangement = make(
    "select",
    { id: "heat-arrangement", onchange: arrange },
    make("option", { value: "modules" }, "block by module, at one level"),
    make("option", { value: "levels" }, "level by layer"),
  );
  const level = make("select", { id: "heat-level", onchange: redraw });
  const choice = metricChoice("heat-metric", "relative_error", redraw);
  const against = make("input", { type: "checkbox", id: "heat-change", onchange: redraw });
  const change = make("label", { className: "check" }, against, "change from the baseline");
  const levelField = make("span", { className: "pair-inline" }, make("label", { htmlFor: "heat-level" }, "Level"), level);
  const picture = chart(
    "chart-heat",
    "Heat map of a measure by layer. The same numbers stand in the table below.",
    option,
    () => AROUND.top + AROUND.bottom + CELL * Math.max(2, lines().length),
    ({ data }) => data?.layer && tell("open", { name: data.layer.name, layer_id: data.layer.layer_id, level: data.level }),
  );
  const numbers = numbersBeside("Heat map as a table", tabulate);
  const element = make(
    "div",
    {},
    make(
      "div",
      { className: "chart-controls" },
      make("div", { className: "filters" }, make("label", { htmlFor: "heat-metric" }, "Measure"), choice.element, make("label", { htmlFor: "heat-arrangement" }, "Show"), arrangement, levelField, change),
    ),
    picture.element,
    numbers.element,
  );

  function redraw() {
    change.hidden = !choice.metric().spectral;
    picture.redraw(true);
    numbers.fill();
  }

  function arrange() {
    levelField.hidden = arrangement.value === "levels";
    redraw();
  }

  /** The lines of the map, from top to bottom. */
  function lines() {
    if (!rows) return [];
    return arrangement.value === "levels" ? rows.head.levels.map(({ name }) => name) : modules(layers());
  }

  /** Its columns: layers, or blocks with what stands outside of them at the end. */
  function columns() {
    const all = layers();
    if (arrangement.value === "levels") return all.map(({ layer_id }) => String(layer_id));
    const blocks = [...new Set(all.flatMap(({ block }) => (block === null ? [] : [block])))].sort((a, b) => a - b).map(String);
    return all.some(({ block }) => block === null) ? [...blocks, "–"] : blocks;
  }

  /** Not those that no level quantizes, where the map is of errors: they have none. @returns {LayerInfo[]} */
  function layers() {
    if (!rows) return [];
    const { head } = rows;
    if (!choice.metric().isError) return head.layers;
    const found = rows;
    return head.layers.filter(({ layer_id, counted }) => counted || head.levels.some(({ name }) => found.at(layer_id, name)?.quantized));
  }

  function isChange() {
    return against.checked && Boolean(choice.metric().spectral);
  }

  /** @returns {{x: number, y: number, layer: LayerInfo, level: string, value: number}[]} */
  function cells() {
    if (!rows) return [];
    const { levels } = rows.head;
    const found = rows;
    const metric = choice.metric();
    const cell = (/** @type {number} */ x, /** @type {number} */ y, /** @type {LayerInfo} */ layer, /** @type {string} */ level) => ({ x, y, layer, level, value: found.number(layer.layer_id, level, metric, isChange()) });
    if (arrangement.value === "levels") return layers().flatMap((layer, x) => levels.map(({ name }, y) => cell(x, y, layer, name)));
    const [xs, ys] = [new Map(columns().map((name, i) => [name, i])), new Map(lines().map((name, i) => [name, i]))];
    return layers().map((layer) => cell(xs.get(String(layer.block ?? "–")) ?? 0, ys.get(layer.module) ?? 0, layer, level.value));
  }

  /** @param {number} width */
  function option(width) {
    if (!rows) return null;
    const colours = palette();
    const { axis, tip, base } = frame(colours);
    const all = cells();
    const [low, high] = range(all.map(({ value }) => value), isChange());
    const metric = isChange() ? changeOf(choice.metric()) : choice.metric();
    const ids = lines();
    const names = ids.map((name) => (arrangement.value === "levels" ? labelOf(name) : shown(name)));
    const left = Math.min(NAMES, Math.max(0.34 * width, 60), 16 + 7 * Math.max(3, ...names.map((name) => name.length)));
    return {
      ...base,
      grid: { left, right: AROUND.right, top: AROUND.top, height: CELL * ids.length },
      xAxis: { ...axis, type: "category", data: columns(), name: arrangement.value === "levels" ? "layer id" : "block", nameLocation: "middle", nameGap: 26, splitLine: { show: false } },
      yAxis: { ...axis, type: "category", data: names, inverse: true, splitLine: { show: false }, axisLabel: { color: colours.quiet, interval: 0, width: left - 12, overflow: "truncate" } },
      visualMap: {
        type: "continuous",
        min: low,
        max: high,
        calculable: false,
        orient: "horizontal",
        left,
        top: AROUND.top + CELL * ids.length + 50,
        itemWidth: 12,
        itemHeight: Math.min(220, width - left - 160),
        text: [metric.text(high), metric.text(low)],
        textStyle: { color: colours.quiet },
        inRange: { color: isChange() ? colours.diverging : colours.sequential },
        outOfRange: { color: [colours.ground] },
      },
      tooltip: {
        ...tip,
        formatter: ({ data }) => make("div", { className: "chart-tip" }, make("strong", {}, `${data.layer.layer_id}  ${shown(data.layer.name)}`), make("div", {}, `${labelOf(data.level)}: ${metric.label} ${isChange() ? "changes by " : ""}${data.known ? metric.text(data.exact) : NONE}`)),
      },
      series: {
        type: "heatmap",
        name: metric.label,
        data: all.map(({ x, y, layer, level, value }) => {
          const known = Number.isFinite(value);
          // Clamped: what lies beyond the ends of the scale has their colours.
          const cell = { value: [x, y, known ? Math.min(high, Math.max(low, value)) : "-"], exact: value, known, layer, level };
          return known ? cell : { ...cell, itemStyle: { color: colours.ground } };
        }),
        itemStyle: { borderColor: colours.ground, borderWidth: all.length > 3000 ? 0 : 1 },
        emphasis: { itemStyle: { borderColor: colours.ink, borderWidth: 1 } },
        progressive: 4000,
      },
    };
  }

  /** @param {string} name */
  function labelOf(name) {
    return rows?.head.levels.find((level) => level.name === name)?.label ?? name;
  }

  function tabulate() {
    if (!rows) return null;
    const metric = isChange() ? changeOf(choice.metric()) : choice.metric();
    const [across, down] = [columns(), lines()];
    const grid = down.map(() => across.map(() => /** @type {string | HTMLElement} */ ("")));
    for (const { x, y, layer, level, value } of cells()) {
      const text = Number.isFinite(value) ? metric.text(value) : NONE;
      grid[y][x] = make("button", { type: "button", className: "cell-button", title: `${shown(layer.name)}, ${labelOf(level)}`, onclick: () => tell("open", { name: layer.name, layer_id: layer.layer_id, level }) }, text);
    }
    const corner = arrangement.value === "levels" ? "Level, by layer id" : "Module, by block";
    return table([corner, ...across], down.map((name, y) => [arrangement.value === "levels" ? labelOf(name) : shown(name), ...grid[y]]));
  }

  return {
    element,
    on,
    /** @param {Head} head */
    begin(head) {
      rows = new Rows(head);
      const before = level.value;
      level.replaceChildren(...head.levels.map(({ name, label }) => make("option", { value: name }, label)));
      level.value = head.levels.some(({ name }) => name === before) ? before : head.levels[Math.min(1, head.levels.length - 1)].name;
      // Without blocks the other arrangement says more.
      if (head.layers.length > 0 && head.layers.every(({ block }) => block === null)) arrangement.value = "levels";
      arrange();
    },
    /** @param {Row[]} finished */
    add(finished) {
      rows?.add(finished);
      choice.offer(measured(finished));
      picture.redraw();
      numbers.fill();
    },
  };
}

const USUAL = ["q", "k", "v", "qkv", "o", "gate", "up", "gate_up", "down"];

/** The names of lines: the usual modules in their order, then others as they come. @param {LayerInfo[]} layers */
function modules(layers) {
  const names = [...new Set(layers.map(({ module }) => module))];
  const place = (/** @type {string} */ name) => {
    const i = USUAL.indexOf(name.split(" ")[0]);
    return i < 0 ? USUAL.length : i;
  };
  const outside = new Set(layers.filter(({ block }) => block === null).map(({ module }) => module));
  return names.sort((a, b) => Number(outside.has(a)) - Number(outside.has(b)) || place(a) - place(b));
}

/** Ends of the scale. @param {number[]} values @param {boolean} symmetric @returns {[number, number]} */
function range(values, symmetric) {
  const known = values.filter(Number.isFinite).sort((a, b) => a - b);
  if (known.length === 0) return symmetric ? [-1, 1] : [0, 1];
  const cut = known.length > MANY ? Math.floor(known.length * TRIMMED) : 0;
  const [low, high] = [known[cut], known[known.length - 1 - cut]];
  if (symmetric) {
    const far = Math.max(Math.abs(low), Math.abs(high)) || 1;
    return [-far, far];
  }
  return low === high ? [low - Math.abs(low) * 0.01, high + (Math.abs(high) * 0.01 || 1)] : [low, high];
}
