// @ts-check
/**
 * The two pictures of a comparison of models: where in the model the error is, and what became of the alphas.
 * @import { LayerInfo, PairRow } from "../types.js"
 */
import { chart } from "../charts/chart.js";
import { mark, palette } from "../charts/palette.js";
import { frame } from "../charts/picture_parts.js";
import { events, make, shown } from "../ui/dom.js";
import { fixed, percent, signed, value } from "../ui/numbers.js";

/** Groups beyond these are one: there are no more colours. */
const GROUPS = 7;
const REST = "others";
/** A logarithmic axis goes in whole decades: errors that are closer together would lie flat on it. */
const DECADES_APART = 10;

/**
 * Rows with their place in the original and the group that gives them their colour.
 * @typedef {{row: PairRow, place: number, group: number}} Point
 */

/** Both pictures, and the choice of what their colours mean. Tells "open" with the row of a point. */
export function pairCharts() {
  const { on, tell } = events();
  /** @type {Map<string, {place: number, layer: LayerInfo}>} */
  let layers = new Map();
  /** @type {PairRow[]} */
  let rows = [];
  /** @type {string[]} */
  let groups = [];
  /** @type {Point[]} */
  let points = [];
  const by = make("select", { id: "pair-colour", onchange: group }, make("option", { value: "scheme" }, "how it is stored"), make("option", { value: "module" }, "module"));
  const legend = make("p", { className: "layer-legend" });
  const open = (/** @type {any} */ { data }) => data?.row && tell("open", data.row);
  const errors = chart("chart-pair-errors", "Scatter chart of the relative error of each weight, in the order of the model. The same numbers stand in the table below.", errorOption, undefined, open);
  const alphas = chart("chart-pair-alphas", "Scatter chart of each weight's alpha in the original and in the other model. The same numbers stand in the table below.", alphaOption, undefined, open);
  const card = (/** @type {string} */ title, /** @type {Node[]} */ ...children) => make("div", { className: "card" }, make("h3", {}, title), ...children);
  const element = make(
    "div",
    {},
    make("div", { className: "filters pair-colours" }, make("label", { htmlFor: "pair-colour" }, "Colours show"), by, legend),
    make(
      "div",
      { className: "pictures" },
      card("Error by weight", errors.element, make("p", { className: "quiet note" }, "From the first weight of the model to the last. A point opens its spectra.")),
      card("Alpha against alpha", alphas.element, make("p", { className: "quiet note" }, "On the line alpha is the same in both. Far from it is not worse: the error is.")),
    ),
  );

  /** @param {PairRow} row */
  function groupOf(row) {
    return by.value === "module" ? (layers.get(row.name)?.layer.module ?? REST) : shown(row.scheme);
  }

  function group() {
    const sizes = new Map();
    for (const row of rows) sizes.set(groupOf(row), (sizes.get(groupOf(row)) ?? 0) + 1);
    const bySize = [...sizes.keys()].filter((name) => name !== REST).sort((a, b) => sizes.get(b) - sizes.get(a) || (a < b ? -1 : 1));
    groups = bySize.slice(0, GROUPS - 1).concat(bySize.length > GROUPS - 1 || sizes.has(REST) ? [REST] : []);
    const place = (/** @type {PairRow} */ row) => layers.get(row.name)?.place ?? layers.size;
    points = rows.map((row) => ({ row, place: place(row), group: Math.max(0, groups.includes(groupOf(row)) ? groups.indexOf(groupOf(row)) : groups.length - 1) }));
    legend.replaceChildren(...groups.map((name, i) => make("span", {}, mark(i + 1), name)));
    errors.redraw();
    alphas.redraw();
  }

  /** @param {(point: Point) => number[]} at */
  function series(at) {
    const colours = palette();
    return groups.map((name, i) => ({
      type: "scatter",
      id: `group-${i}`,
      name,
      symbol: colours.symbol(i + 1),
      symbolSize: 8,
      itemStyle: { color: colours.level(i + 1), opacity: 0.85 },
      data: points.filter((point) => point.group === i).map((point) => ({ value: at(point), row: point.row })).filter(({ value: [x, y] }) => Number.isFinite(x) && Number.isFinite(y)),
    }));
  }

  /** @param {{data: {row: PairRow}}} point */
  function words({ data: { row } }) {
    if (!row) return "";
    const lines = [`${shown(row.scheme)}, ${fixed(row.bits_per_weight, 3)} bits per weight`, `relative error ${percent(row.relative_error)}`, `alpha ${fixed(row.original_alpha, 3)} to ${fixed(row.alpha, 3)} (${signed(row.alpha_change, 3)})`];
    return make("div", { className: "chart-tip" }, make("strong", {}, shown(row.name)), ...lines.map((line) => make("div", {}, line)));
  }

  function errorOption() {
    if (points.length === 0) return null;
    const colours = palette();
    const { axis, tip, base } = frame(colours);
    const found = points.map(({ row }) => value(row.relative_error)).filter(Number.isFinite);
    const [low, high] = [Math.min(...found), Math.max(...found)];
    const isLog = low > 0 && high > DECADES_APART * low;
    return {
      ...base,
      grid: { left: 62, right: 20, top: 30, bottom: 44 },
      xAxis: { ...axis, type: "value", min: 0, max: Math.max(1, layers.size), name: "place in the model", nameLocation: "middle", nameGap: 26, splitLine: { show: false }, minInterval: 1 },
      yAxis: { ...axis, type: isLog ? "log" : "value", scale: true, name: "relative error", nameTextStyle: { color: colours.quiet, align: "left" }, axisLabel: { color: colours.quiet, formatter: percent } },
      tooltip: { ...tip, formatter: words },
      series: series(({ place, row }) => [place + 0.5, value(row.relative_error)]),
    };
  }

  function alphaOption() {
    const found = points.flatMap(({ row }) => [value(row.original_alpha), value(row.alpha)]).filter(Number.isFinite);
    if (points.length === 0) return null;
    const colours = palette();
    const { axis, tip, base } = frame(colours);
    const [low, high] = [Math.floor(Math.min(2, ...found)), Math.ceil(Math.max(4, ...found))];
    return {
      ...base,
      grid: { left: 48, right: 24, top: 30, bottom: 44 },
      xAxis: { ...axis, type: "value", min: low, max: high, name: "alpha, original", nameLocation: "middle", nameGap: 26, splitLine: { show: false } },
      yAxis: { ...axis, type: "value", min: low, max: high, name: "alpha, other", nameTextStyle: { color: colours.quiet, align: "left" } },
      tooltip: { ...tip, formatter: words },
      series: [
        { type: "line", id: "same", silent: true, symbol: "none", lineStyle: { color: colours.quiet, type: "dashed", width: 1.5 }, tooltip: { show: false }, data: [[low, low], [high, high]] },
        ...series(({ row }) => [value(row.original_alpha), value(row.alpha)]),
      ],
    };
  }

  return {
    element,
    on,
    /** @param {LayerInfo[]} infos the original's layers */
    begin(infos) {
      layers = new Map(infos.map((layer, place) => [`${layer.name}.weight`, { place, layer }]));
      rows = [];
      group();
    },
    /** @param {PairRow[]} all */
    show(all) {
      rows = all;
      group();
    },
  };
}
