// @ts-check
/** @import { ComparisonRow, Head } from "../types.js" */
import { make } from "../ui/dom.js";
import { onAxis } from "../ui/metrics.js";
import { fixed, percent, value } from "../ui/numbers.js";
import { chart } from "./chart.js";
import { palette } from "./palette.js";
import { frame, numbersBeside, table } from "./picture_parts.js";

/** What may stand against the size: key of the comparison, words, text, and whether less is better. */
const DAMAGES = /** @type {const} */ ([
  ["relative_error_mean", "Mean relative error", percent, true, "log"],
  ["sqnr_db_mean", "Mean SQNR, dB", (/** @type {any} */ x) => fixed(x, 1), false, "value"],
  ["alpha_abs_change_mean", "Mean |Δ alpha|", (/** @type {any} */ x) => fixed(x, 3), true, "value"],
]);

/** Size against damage: bits a weight takes, and the chosen measure; a line joins the levels that no other beats in both. */
export function trade() {
  /** @type {Head["levels"]} */
  let levels = [];
  /** @type {ComparisonRow[]} */
  let rows = [];
  const measure = make("select", { id: "trade-measure", onchange: redraw }, ...DAMAGES.map(([key, label]) => make("option", { value: key }, label)));
  const picture = chart("chart-trade", "Scatter chart of bits per weight against the damage of each level. The same numbers stand in the table below.", option);
  const numbers = numbersBeside("Size and damage as a table", tabulate);
  const about = make("p", { className: "quiet note" }, "The line joins the levels that no other beats in both size and damage. Bits count scales; embeddings and norms are not in it. Levels that some layers can't take are left out: their means are of other layers.");
  const element = make("div", {}, make("div", { className: "chart-controls" }, make("div", { className: "filters" }, make("label", { htmlFor: "trade-measure" }, "Damage by"), measure)), picture.element, about, numbers.element);

  function redraw() {
    picture.redraw(true);
    numbers.fill();
  }

  function damage() {
    const [key, label, text, less, scale] = DAMAGES.find(([key]) => key === measure.value) ?? DAMAGES[0];
    return { key, label, text, less, scale };
  }

  function points() {
    const { key, less } = damage();
    const all = rows
      .map((row) => ({ row, i: levels.findIndex(({ name }) => name === row.quantization), bits: value(row.bits_per_weight_mean), harm: value(row[key]) }))
      .filter(({ row, i, bits, harm }) => i > 0 && !row.measures?.layers_without_error && Number.isFinite(bits) && Number.isFinite(harm));
    const beats = (/** @type {typeof all[0]} */ a, /** @type {typeof all[0]} */ b) =>
      a.bits <= b.bits && (less ? a.harm <= b.harm : a.harm >= b.harm) && (a.bits < b.bits || a.harm !== b.harm);
    return all.map((point) => ({ ...point, best: !all.some((other) => beats(other, point)) })).sort((a, b) => a.bits - b.bits);
  }

  function option() {
    const all = points();
    if (levels.length === 0) return null;
    const colours = palette();
    const { axis, tip, base } = frame(colours);
    const { label, text, scale } = damage();
    // room beside the first and the last
    const [low, high] = all.length ? [Math.max(0, Math.floor(all[0].bits - 0.25)), Math.ceil(all[all.length - 1].bits + 0.25)] : [0, 8];
    const isLog = scale === "log" && all.every(({ harm }) => harm > 0);
    return {
      ...base,
      grid: { left: 58, right: 24, top: 30, bottom: 46 },
      xAxis: { ...axis, type: "value", min: low, max: high, interval: high - low <= 12 ? 1 : undefined, name: "bits per weight", nameLocation: "middle", nameGap: 28, splitLine: { show: false }, minInterval: 1 },
      yAxis: { ...axis, type: isLog ? "log" : "value", scale: true, name: label, nameTextStyle: { color: colours.quiet, align: "left" }, axisLabel: { color: colours.quiet, formatter: onAxis(text) } },
      tooltip: {
        ...tip,
        formatter: ({ data }) => make("div", { className: "chart-tip" }, make("strong", {}, data.row.label), make("div", {}, `${fixed(data.row.bits_per_weight_mean, 3)} bits per weight, ${label.toLowerCase()} ${text(data.row[measure.value])}`)),
      },
      series: [
        { type: "line", id: "front", silent: true, symbol: "none", lineStyle: { color: colours.quiet, type: "dashed", width: 1.5 }, tooltip: { show: false }, data: all.filter(({ best }) => best).map(({ bits, harm }) => [bits, harm]) },
        {
          type: "scatter",
          id: "levels",
          symbolSize: 12,
          labelLayout: { hideOverlap: true, moveOverlap: "shiftY" },
          label: { show: true, position: "right", formatter: ({ data }) => data.row.quantization, color: colours.ink, fontSize: 12 },
          data: all.map(({ row, i, bits, harm, best }) => ({ value: [bits, harm], row, best, symbol: colours.symbol(i), itemStyle: { color: colours.level(i), opacity: best ? 1 : 0.65 } })),
        },
      ],
    };
  }

  function tabulate() {
    const { label, text } = damage();
    return table(["Level", "Bits / weight", label, "Beaten in both"], points().map(({ row, bits, harm, best }) => [row.label, fixed(bits, 3), text(harm), best ? "by none" : "yes"]));
  }

  return {
    element,
    on() {},
    /** @param {Head} head */
    begin(head) {
      ({ levels } = head);
      rows = [];
      redraw();
    },
    /** @param {ComparisonRow[]} comparison */
    show(comparison) {
      rows = comparison;
      picture.redraw();
      numbers.fill();
    },
  };
}
