// @ts-check
/** @import { ComparisonRow, Head } from "../types.js" */
import { make } from "../ui/dom.js";
import { fixed, percent, value } from "../ui/numbers.js";
import { chart } from "./chart.js";
import { palette } from "./palette.js";
import { frame } from "./picture_parts.js";

const PANEL = 150;
const GAP = { x: 46, top: 34, bottom: 28 };
/** Room for a letter of a level's name, in pixels. */
const LETTER = 6.5;
const two = (/** @type {number} */ x) => fixed(x, 2);

/** The study's summary of a run: four small panels. @type {{title: string, of: (row: ComparisonRow) => number[], text: (x: number) => string}[]} */
const PANELS = [
  { title: "Mean alpha", of: (row) => [value(row.alpha_mean)], text: two },
  { title: "Standard deviation of alpha", of: (row) => [value(row.alpha_std)], text: two },
  { title: "Share of layers with alpha in [2, 6]", of: (row) => [row.num_layers ? value(row.layers_optimal) / row.num_layers : NaN], text: percent },
  { title: "Smallest to largest alpha", of: (row) => [value(row.alpha_min), value(row.alpha_max)], text: two },
];

export function summary() {
  /** @type {Head["levels"]} */
  let levels = [];
  /** @type {Map<string, ComparisonRow>} */
  let rows = new Map();
  const picture = chart("chart-summary", "Four panels by level: mean alpha, its standard deviation, the share of layers in the band from 2 to 6, and its range. The same numbers stand in the table of levels.", option, (width) => Math.ceil(4 / across(width, levels)) * (PANEL + GAP.top + GAP.bottom));
  const element = make("div", {}, picture.element);

  /** @param {number} width */
  function option(width) {
    if (levels.length === 0) return null;
    const colours = palette();
    const { axis, tip, base } = frame(colours);
    const columns = across(width, levels);
    const panel = width / columns - GAP.x - 8;
    const place = (/** @type {number} */ i) => ({ left: GAP.x - 4 + (i % columns) * (panel + GAP.x + 8), top: GAP.top + Math.floor(i / columns) * (PANEL + GAP.top + GAP.bottom), width: panel, height: PANEL });
    const crowded = panel / levels.length < 26;
    return {
      ...base,
      title: PANELS.map(({ title }, i) => ({ text: title, left: place(i).left, top: place(i).top - GAP.top + 6, padding: 0, textStyle: { color: colours.ink, fontSize: 13, fontWeight: 600 } })),
      grid: PANELS.map((_, i) => place(i)),
      xAxis: PANELS.map((_, i) => ({ ...axis, gridIndex: i, type: "category", data: levels.map(({ name }, i) => (i === 0 ? "stored" : name)), splitLine: { show: false }, axisLabel: { color: colours.quiet, fontSize: 11, interval: crowded ? "auto" : 0, hideOverlap: true } })),
      yAxis: PANELS.map((_, i) => ({ ...axis, gridIndex: i, type: "value", splitNumber: 3, max: i === 2 ? 1 : undefined, interval: i === 2 ? 0.5 : undefined, axisLabel: { color: colours.quiet, formatter: i === 2 ? (/** @type {number} */ x) => `${100 * x}%` : undefined } })),
      tooltip: { ...tip, formatter: ({ seriesIndex, dataIndex }) => tipOf(seriesIndex, dataIndex) },
      series: PANELS.map(({ title, of }, i) => ({
        type: i === 3 ? "custom" : "bar",
        id: `panel ${i}`,
        name: title,
        xAxisIndex: i,
        yAxisIndex: i,
        barMaxWidth: 28,
        emphasis: { disabled: true },
        ...(i === 3 ? { renderItem: whisker, encode: { x: 0, y: [1, 2] } } : {}),
        data: levels.map(({ name }, level) => {
          const row = rows.get(name);
          const found = row ? of(row) : [NaN, NaN];
          const style = { itemStyle: { color: colours.level(level) } };
          return i === 3 ? { value: [level, ...(Number.isFinite(found[0]) ? found : ["-", "-"])], ...style } : { value: Number.isFinite(found[0]) ? found[0] : null, ...style };
        }),
        markArea: i === 0 || i === 3 ? { silent: true, itemStyle: { color: colours.band }, data: [[{ yAxis: 2 }, { yAxis: 6 }]] } : undefined,
      })),
    };
  }

  /** @param {number} panel @param {number} level */
  function tipOf(panel, level) {
    const { title, of, text } = PANELS[panel];
    const row = rows.get(levels[level]?.name);
    return row ? make("div", { className: "chart-tip" }, make("strong", {}, levels[level].label), make("div", {}, `${title}: ${of(row).map(text).join(" to ")}`)) : "";
  }

  return {
    element,
    on() {},
    /** @param {Head} head */
    begin(head) {
      ({ levels } = head);
      rows = new Map();
      picture.redraw(true);
    },
    /** @param {ComparisonRow[]} comparison */
    show(comparison) {
      rows = new Map(comparison.map((row) => [row.quantization, row]));
      picture.redraw();
    },
  };
}

/** Panels side by side: as many as leave room for the name under each bar. @param {number} width @param {Head["levels"]} levels */
function across(width, levels) {
  const needed = levels.length * LETTER * Math.max(6, ...levels.slice(1).map(({ name }) => name.length));
  const most = width >= 1000 ? 4 : width >= 480 ? 2 : 1;
  return [4, 2, 1].find((columns) => columns === 1 || (columns <= most && width / columns - GAP.x - 8 >= needed)) ?? 1;
}

/** A bar from the smallest to the largest. @param {any} _ @param {any} api */
function whisker(_, api) {
  const [bottom, top] = [api.coord([api.value(0), api.value(1)]), api.coord([api.value(0), api.value(2)])];
  if (!Number.isFinite(bottom[1]) || !Number.isFinite(top[1])) return null;
  const width = Math.min(14, api.size([1, 0])[0] * 0.5);
  return { type: "rect", shape: { x: top[0] - width / 2, y: top[1], width, height: Math.max(1, bottom[1] - top[1]), r: 2 }, style: { fill: api.visual("color") } };
}
