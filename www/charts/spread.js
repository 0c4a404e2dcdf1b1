// @ts-check
/** @import { Head, Row } from "../types.js" */
import { make } from "../ui/dom.js";
import { measured, onAxis } from "../ui/metrics.js";
import { NONE } from "../ui/numbers.js";
import { chart } from "./chart.js";
import { palette } from "./palette.js";
import { frame, metricChoice, numbersBeside, table } from "./picture_parts.js";

/** Box plots of any measure, a box a level: the middle half of the layers, the median, whiskers to the last within 1.5 boxes. */
export function spread() {
  /** @type {Head["levels"]} */
  let levels = [];
  /** @type {Map<string, Row[]>} */
  let rows = new Map();
  const choice = metricChoice("spread-metric", "alpha", redraw);
  const picture = chart("chart-spread", "Box plots of a measure, one for each level. The same numbers stand in the table below.", option);
  const numbers = numbersBeside("Box plots as a table", tabulate);
  const element = make("div", {}, make("div", { className: "chart-controls" }, make("div", { className: "filters" }, make("label", { htmlFor: "spread-metric" }, "Measure"), choice.element)), picture.element, numbers.element);

  function redraw() {
    picture.redraw(true);
    numbers.fill();
  }

  function boxes() {
    const metric = choice.metric();
    return levels.map(({ name }) => box((rows.get(name) ?? []).map(metric.of).filter(Number.isFinite)));
  }

  /** @param {number} width */
  function option(width) {
    if (levels.length === 0) return null;
    const colours = palette();
    const { axis, tip, base } = frame(colours);
    const metric = choice.metric();
    const all = boxes();
    const isAlpha = metric.key === "alpha";
    const slanted = width / levels.length < 8 * Math.max(...levels.map(({ name }) => name.length));
    return {
      ...base,
      grid: { left: 58, right: 12, top: 26, bottom: slanted ? 78 : 34 },
      xAxis: { ...axis, type: "category", data: levels.map(({ name }, i) => (i === 0 ? "as stored" : name)), splitLine: { show: false }, axisLabel: { color: colours.quiet, interval: 0, rotate: slanted ? 45 : 0 } },
      yAxis: { ...axis, type: "value", scale: true, name: metric.label, nameTextStyle: { color: colours.quiet, align: "left" }, axisLabel: { color: colours.quiet, formatter: onAxis(metric.text) } },
      tooltip: {
        ...tip,
        formatter: ({ dataIndex }) => {
          const found = all[dataIndex];
          return found && make("div", { className: "chart-tip" }, make("strong", {}, levels[dataIndex].label), make("div", {}, `median ${metric.text(found.median)}, middle half ${metric.text(found.q1)} to ${metric.text(found.q3)}, all ${metric.text(found.min)} to ${metric.text(found.max)}`));
        },
      },
      series: [
        {
          type: "boxplot",
          id: "boxes",
          boxWidth: [8, 44],
          data: all.map((found, i) => ({ value: found ? [found.low, found.q1, found.median, found.q3, found.high] : [], itemStyle: { color: colours.ground, borderColor: colours.level(i), borderWidth: 1.75 } })),
          markArea: isAlpha ? { silent: true, itemStyle: { color: colours.band }, data: [[{ yAxis: 2 }, { yAxis: 6 }]] } : undefined,
          emphasis: { disabled: true },
        },
        { type: "scatter", id: "outliers", symbolSize: 5, silent: true, data: all.flatMap((found, i) => (found?.outliers ?? []).map((y) => ({ value: [i, y], itemStyle: { color: colours.level(i), opacity: 0.7 } }))) },
      ],
    };
  }

  function tabulate() {
    const { text } = choice.metric();
    const all = boxes();
    return table(
      ["Level", "Layers", "Smallest", "Lower quartile", "Median", "Upper quartile", "Largest"],
      levels.map(({ label }, i) => {
        const found = all[i];
        return [label, String(found?.count ?? 0), ...[found?.min, found?.q1, found?.median, found?.q3, found?.max].map((x) => (x === undefined ? NONE : text(x)))];
      }),
    );
  }

  return {
    element,
    on() {},
    /** @param {Head} head */
    begin(head) {
      ({ levels } = head);
      rows = new Map(levels.map(({ name }) => [name, []]));
      redraw();
    },
    /** @param {Row[]} finished */
    add(finished) {
      for (const row of finished) if (row.counted) rows.get(row.quantization)?.push(row);
      choice.offer(measured(finished));
      picture.redraw();
      numbers.fill();
    },
  };
}

/** Quartiles by linear interpolation, as numpy's. @param {number[]} values */
function box(values) {
  if (values.length === 0) return null;
  const sorted = values.sort((a, b) => a - b);
  const at = (/** @type {number} */ share) => {
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
  };
  const [q1, median, q3] = [at(0.25), at(0.5), at(0.75)];
  const reach = 1.5 * (q3 - q1);
  const inside = sorted.filter((x) => x >= q1 - reach && x <= q3 + reach);
  return { count: sorted.length, min: sorted[0], max: sorted[sorted.length - 1], q1, median, q3, low: inside[0], high: inside[inside.length - 1], outliers: sorted.filter((x) => x < q1 - reach || x > q3 + reach) };
}
