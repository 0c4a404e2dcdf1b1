// @ts-check
/** What every chart shares: loading the library when first needed, size, colours, redrawing no more often than useful. */
import { make } from "../ui/dom.js";
import { dark } from "./palette.js";

/** While rows stream in, a chart is redrawn at most this often. */
const REDRAW_MS = 400;

/** @type {Promise<any> | undefined} */
let library;

/** The last in the queue of charts that are to be drawn. */
let last = Promise.resolve();

/** One chart a task: the page answers between two of them. */
function turn() {
  last = last.then(() => new Promise((resolve) => setTimeout(resolve)));
  return last;
}

/**
 * @param {string} id
 * @param {string} label what the picture shows, and where the same numbers stand as text
 * @param {(width: number) => object | null} option the ECharts option for this width; null: nothing to draw yet
 * @param {(width: number) => number} [height] in pixels
 */
export function chart(id, label, option, height) {
  const element = make("div", { className: "chart", id, role: "img", "aria-label": label });
  /** @type {any} */
  let drawn = null;
  let timer = 0;
  let width = 0;

  async function draw() {
    timer = 0;
    width = element.clientWidth;
    if (width === 0) return;
    if (!option(width)) return;
    library ??= import(new URL("../vendor/echarts/echarts.esm.min.js", import.meta.url).href);
    const echarts = await library;
    await turn();
    const now = option(width); // rows may have come while the library was loading
    if (!now) return;
    if (height) element.style.height = `${height(width)}px`;
    drawn ??= echarts.init(element);
    if (drawn.getWidth() !== element.clientWidth || drawn.getHeight() !== element.clientHeight) drawn.resize(); // it draws, too
    drawn.setOption({ animation: false, ...now }, { notMerge: false, replaceMerge: ["series", "grid", "xAxis", "yAxis", "title"] });
  }

  /** @param {boolean} [now] */
  function redraw(now = false) {
    if (now) {
      clearTimeout(timer);
      timer = setTimeout(draw, 0);
    } else if (timer === 0) {
      timer = setTimeout(draw, REDRAW_MS);
    }
  }

  new ResizeObserver(() => {
    if (element.clientWidth !== width) redraw(true);
  }).observe(element);
  dark.addEventListener("change", () => redraw(true));

  return { element, redraw };
}
