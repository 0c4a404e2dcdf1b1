// @ts-check
/** Colours and marks of the charts, taken from style/colours.css so that light and dark are said once. */

/** The scheme the reader prefers; charts redraw when it changes. */
export const dark = matchMedia("(prefers-color-scheme: dark)");

/** One mark a level, so that lines differ by more than colour: paths in a box of 10 by 10, for chart and legend alike. */
const MARKS = [
  "M5 0A5 5 0 1 1 5 10A5 5 0 1 1 5 0Z", // disc
  "M1 1H9V9H1Z", // square
  "M5 0L10 9H0Z", // triangle up
  "M5 0L10 5L5 10L0 5Z", // diamond
  "M5 10L10 1H0Z", // triangle down
  "M3.5 0H6.5V3.5H10V6.5H6.5V10H3.5V6.5H0V3.5H3.5Z", // plus
  "M0 3H10V7H0Z", // bar
  "M2 0L5 3L8 0L10 2L7 5L10 8L8 10L5 7L2 10L0 8L3 5L0 2Z", // cross
];
/** Places of the --shade-… and --side-… colours. */
const SHADES = [0, 1, 2, 3, 4];
/** How many --level-… colours style/colours.css names. */
const COLOURS = 8;

export function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  const levels = Array.from({ length: COLOURS }, (_, i) => colour(`--level-${i}`));
  return {
    ink: colour("--ink"),
    quiet: colour("--quiet"),
    line: colour("--line"),
    ground: colour("--card"),
    band: colour("--band"),
    // in SVG the names stand in an attribute, which ECharts does not escape
    font: style.fontFamily.replaceAll('"', "'"),
    /** @param {number} i the place of the level in the run; 0 is the baseline */
    level: (i) => levels[i % COLOURS],
    /** From little to much of one colour, and from below zero over nothing to above. */
    sequential: SHADES.map((i) => colour(`--shade-${i}`)),
    diverging: SHADES.map((i) => colour(`--side-${i}`)),
    /** @param {number} i */
    symbol: (i) => `path://${shape(i)}`,
  };
}

/** Beyond the last colour they come again, with other marks. @param {number} i */
function shape(i) {
  return MARKS[(i + 3 * Math.floor(i / COLOURS)) % MARKS.length];
}

/** The mark of a level for legends. @param {number} i */
export function mark(i) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 10 10");
  svg.setAttribute("class", `mark level-${i % COLOURS}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", shape(i));
  svg.append(path);
  return svg;
}
