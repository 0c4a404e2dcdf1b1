// @ts-check
/** @import { Head, Row } from "../types.js" */
import { make } from "../ui/dom.js";
import { value, whole } from "../ui/numbers.js";
import { chart } from "./chart.js";
import { palette } from "./palette.js";

const BIN = 0.5;
/** Where the last bin may begin: the smallest that holds all, or the largest. What lies above is counted in it. */
const ENDS = [8, 12, 16];
const PANEL_HEIGHT = 150;
const MIN_PANEL_WIDTH = 150;
/** A narrower panel has room for every other tick only. */
const ROOMY = 200;
const GAP = { x: 40, top: 52, bottom: 26 };

/** How often each alpha occurs, a histogram a level, all on one scale, the band [2, 6] shaded. */
export function alphaDistribution() {
  /** @type {Head["levels"]} */
  let levels = [];
  /** @type {Map<string, {alphas: number[], failed: number}>} */
  let found = new Map();

  const picture = chart(
    "chart-distribution",
    "Histograms of alpha, one for each level, with the band from 2 to 6 shaded. The same counts stand in the table below.",
    option,
    (width) => Math.ceil(levels.length / columns(width)) * (PANEL_HEIGHT + GAP.top + GAP.bottom),
  );
  const numbers = make("div", { className: "box", tabIndex: 0, role: "region", "aria-label": "Counts of the histograms" });
  const details = make("details", { className: "terms", ontoggle: tabulate }, make("summary", {}, "Counts as a table"), numbers);
  const element = make("div", {}, picture.element, details);

  /** @param {number} width */
  function columns(width) {
    return Math.max(1, Math.min(3, levels.length, Math.floor(width / MIN_PANEL_WIDTH)));
  }

  function bins() {
    const all = [...found.values()].flatMap(({ alphas }) => alphas);
    const largest = Math.max(0, ...all);
    const end = ENDS.find((end) => largest < end) ?? ENDS[ENDS.length - 1];
    const below = all.some((alpha) => alpha < 1);
    const start = below ? 1 - BIN : 1;
    const length = Math.round((end - start) / BIN) + 1;
    const counts = levels.map(({ name }) => {
      const counted = new Array(length).fill(0);
      for (const alpha of found.get(name)?.alphas ?? []) {
        const bin = alpha >= end ? length - 1 : alpha < 1 ? 0 : Math.floor((alpha - start) / BIN);
        counted[bin] += 1;
      }
      return counted;
    });
    return { start, end, below, length, counts };
  }

  /** @param {number} width */
  function option(width) {
    if (levels.length === 0) return null;
    const colours = palette();
    const { start, end, counts } = bins();
    const tallest = Math.max(4, ...counts.flat());
    const across = columns(width);
    const panel = (width - across * GAP.x) / across;
    const rects = levels.map((_, i) => ({
      left: GAP.x - 12 + (i % across) * (panel + GAP.x),
      top: GAP.top + Math.floor(i / across) * (PANEL_HEIGHT + GAP.top + GAP.bottom),
      width: panel,
      height: PANEL_HEIGHT,
    }));
    const axis = { axisLine: { lineStyle: { color: colours.line } }, axisLabel: { color: colours.quiet }, axisTick: { show: false } };
    return {
      textStyle: { fontFamily: colours.font },
      title: levels.map(({ name, label }, i) => {
        const { alphas, failed } = found.get(name) ?? { alphas: [], failed: 0 };
        return {
          text: label,
          subtext: `${whole(alphas.length)} fits${failed ? `, ${whole(failed)} failed` : ""}`,
          left: rects[i].left,
          top: rects[i].top - GAP.top + 4,
          itemGap: 3,
          padding: 0,
          textStyle: { color: colours.ink, fontSize: 13, lineHeight: 17, fontWeight: 600 },
          subtextStyle: { color: colours.quiet, fontSize: 12, lineHeight: 15 },
        };
      }),
      grid: rects.map((rect) => ({ ...rect, containLabel: false })),
      xAxis: levels.map((_, i) => ({
        ...axis,
        type: "value",
        gridIndex: i,
        min: start,
        max: end + BIN,
        interval: 2,
        splitLine: { show: false },
        axisLabel: { color: colours.quiet, customValues: ticks(end, panel < ROOMY ? 4 : 2), formatter: (/** @type {number} */ x) => (x === end ? `${end}+` : String(x)) },
      })),
      yAxis: levels.map((_, i) => ({
        ...axis,
        type: "value",
        gridIndex: i,
        max: tallest,
        minInterval: 1,
        splitNumber: 3,
        axisLabel: { color: colours.quiet, showMaxLabel: false },
        splitLine: { lineStyle: { color: colours.line } },
      })),
      tooltip: {
        trigger: "item",
        confine: true,
        backgroundColor: colours.ground,
        borderColor: colours.line,
        textStyle: { color: colours.ink },
        formatter: (/** @type {any} */ point) => make("div", {}, `${point.seriesName}: ${point.value[1]} with alpha ${range(Math.round((point.value[0] - BIN / 2 - start) / BIN), bins())}`),
      },
      series: levels.map(({ label }, i) => ({
        type: "bar",
        name: label,
        xAxisIndex: i,
        yAxisIndex: i,
        barWidth: Math.max(1, (panel * BIN) / (end + BIN - start) - 1),
        itemStyle: { color: colours.level(i) },
        emphasis: { disabled: true },
        data: counts[i].map((n, bin) => [start + (bin + 0.5) * BIN, n]),
        markArea: { silent: true, itemStyle: { color: colours.band }, data: [[{ xAxis: 2 }, { xAxis: 6 }]] },
      })),
    };
  }

  function tabulate() {
    if (!details.open || levels.length === 0) return;
    const made = bins();
    numbers.replaceChildren(
      make(
        "table",
        { className: "data" },
        make("thead", {}, make("tr", {}, make("th", { scope: "col", className: "name" }, "Alpha"), ...levels.map(({ label }) => make("th", { scope: "col", className: "number" }, label)))),
        make(
          "tbody",
          {},
          ...Array.from({ length: made.length }, (_, bin) =>
            make("tr", {}, make("th", { scope: "row", className: "name" }, range(bin, made)), ...made.counts.map((counted) => make("td", { className: "number" }, whole(counted[bin])))),
          ),
          make("tr", {}, make("th", { scope: "row", className: "name" }, "failed"), ...levels.map(({ name }) => make("td", { className: "number" }, whole(found.get(name)?.failed)))),
        ),
      ),
    );
  }

  return {
    element,
    on() {},
    /** @param {Head} head */
    begin(head) {
      levels = head.levels;
      found = new Map(levels.map(({ name }) => [name, { alphas: [], failed: 0 }]));
      numbers.replaceChildren();
      picture.redraw(true);
    },
    /** Rows that the comparison doesn't count (embeddings) are left out here too. @param {Row[]} rows */
    add(rows) {
      for (const { quantization, alpha, status, counted } of rows) {
        const of = found.get(quantization);
        if (!of || !counted) continue;
        if (status === "failed" || Number.isNaN(value(alpha))) of.failed += 1;
        else of.alphas.push(value(alpha));
      }
      picture.redraw();
      tabulate();
    },
  };
}

/** @param {number} end @param {number} step */
function ticks(end, step) {
  return Array.from({ length: end / step }, (_, i) => step * (i + 1));
}

/** @param {number} bin @param {{start: number, end: number, below: boolean, length: number}} made */
function range(bin, { start, end, below, length }) {
  if (bin === length - 1) return `${end} and more`;
  if (below && bin === 0) return "below 1";
  const from = start + bin * BIN;
  return `${from} to ${from + BIN}`;
}
