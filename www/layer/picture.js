// @ts-check
/** What the pictures of the view share: heading, a line of explanation, the chart, and its numbers as a table. */
import { chart } from "../charts/chart.js";
import { mark, palette } from "../charts/palette.js";
import { make } from "../ui/dom.js";
import { power, significant, tick } from "./format.js";

/** Whether there is anything to draw does not depend on the width. */
const SOME_WIDTH = 600;
/** Height of a row of names above a picture, in pixels. */
const ROW = 14;

/**
 * @typedef {object} Numbers
 * @property {string[]} headings
 * @property {(string | number)[][]} rows
 */

/**
 * @param {string} id
 * @param {string} title
 * @param {string} means one or two sentences
 * @param {(width: number) => object | null} option
 * @param {() => Numbers} numbers
 * @param {() => [number | string, string][]} legend what is drawn: a level's place in the run, or the class of a line, and its name
 * @param {HTMLElement} [controls] between heading and chart
 */
export function picture(id, title, means, option, numbers, legend, controls) {
  const note = make("p", { className: "layer-note" });
  const names = make("p", { className: "layer-legend" });
  const box = make("div", { className: "box short", tabIndex: 0, role: "region", "aria-label": `${title}: numbers` });
  const details = make("details", { className: "terms", ontoggle: tabulate }, make("summary", {}, "As a table"), box);
  const drawn = chart(`layer-${id}`, `${title}. ${means} The same numbers stand in the table below.`, option);
  const element = make("figure", { className: "card layer-figure", id: `figure-${id}` }, make("figcaption", {}, make("h3", {}, title), make("p", { className: "quiet" }, means)), controls, names, drawn.element, note, details);

  function tabulate() {
    if (!details.open) return;
    const { headings, rows } = numbers();
    box.replaceChildren(
      make(
        "table",
        { className: "data" },
        make("thead", {}, make("tr", {}, ...headings.map((text) => make("th", { scope: "col", className: "number" }, text)))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", { className: "number" }, typeof cell === "number" ? significant(cell) : cell))))),
      ),
    );
  }

  return {
    element,
    chart: drawn.element,
    /** @param {string} [remark] under the chart */
    redraw(remark) {
      if (remark !== undefined) note.textContent = remark;
      // What an earlier layer left must not stand under this one's name.
      drawn.element.classList.toggle("layer-pending", option(SOME_WIDTH) === null);
      names.replaceChildren(...legend().map(([kind, name]) => make("span", {}, typeof kind === "number" ? mark(kind) : make("span", { className: `layer-swatch ${kind}` }), name)));
      drawn.redraw(true);
      tabulate();
    },
  };
}

/** The parts that all options have. */
export function frame() {
  const colours = palette();
  const line = { axisLine: { lineStyle: { color: colours.line } }, axisTick: { show: false }, axisLabel: { color: colours.quiet, hideOverlap: true } };
  const split = { splitLine: { lineStyle: { color: colours.line, opacity: 0.6 } } };
  const named = (/** @type {string} */ name, /** @type {number} */ gap) => ({ name, nameLocation: "middle", nameGap: gap, nameTextStyle: { color: colours.quiet } });
  return {
    colours,
    base: { textStyle: { fontFamily: colours.font }, grid: { left: 56, right: 28, top: 24, bottom: 44 } },
    /** The grid under so many rows of names. @param {number} rows */
    under: (rows) => ({ left: 56, right: 28, top: 10 + ROW * rows, bottom: 44 }),
    /** @param {string} name @param {boolean} log @param {object} [more] */
    x: (name, log, more) => ({ ...line, splitLine: { show: false }, ...named(name, 26), type: log ? "log" : "value", axisLabel: { ...line.axisLabel, formatter: log ? power : tick, showMinLabel: !log, showMaxLabel: false }, ...more }),
    /** @param {string} name @param {boolean} log @param {object} [more] */
    y: (name, log, more) => ({ ...line, ...split, ...named(name, 40), type: log ? "log" : "value", splitNumber: 4, axisLabel: { ...line.axisLabel, showMaxLabel: false, formatter: log ? power : tick }, ...more }),
    /** @param {(points: any[]) => Node | string} formatter */
    tooltip: (formatter) => ({ trigger: "axis", confine: true, backgroundColor: colours.ground, borderColor: colours.line, textStyle: { color: colours.ink }, axisPointer: { lineStyle: { color: colours.quiet } }, formatter }),
    /**
     * Upright lines with their names, one above the other: each in a row of its own, for which the grid leaves room.
     * @param {{x: number | null | undefined, name: string, color?: string, dashed?: boolean}[]} lines
     */
    uprights: (lines) => ({
      type: "line",
      id: "uprights",
      data: [],
      silent: true,
      tooltip: { show: false },
      markLine: {
        silent: true,
        symbol: "none",
        animation: false,
        precision: -1, // or ECharts rounds to two decimals, and the line stands elsewhere or nowhere
        data: lines
          .filter(({ x }) => Number.isFinite(x))
          .map(({ x, name, color, dashed }, i) => ({
            xAxis: x,
            lineStyle: { color: color ?? colours.ink, width: 1.5, type: dashed ? [5, 4] : "solid" },
            label: { formatter: name, color: color ?? colours.ink, position: "end", fontSize: 11, distance: 4 + ROW * i, textBorderColor: colours.ground, textBorderWidth: 3 },
          })),
      },
    }),
  };
}

/** Lines of a tooltip. @param {(string | null | undefined)[]} lines */
export function tip(...lines) {
  const [first, ...rest] = lines.filter((line) => line !== null && line !== undefined);
  return make("div", { className: "chart-tip" }, make("strong", {}, first ?? ""), ...rest.map((line) => make("div", {}, line)));
}
