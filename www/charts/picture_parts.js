// @ts-check
/** Parts that several pictures share. */
import { make } from "../ui/dom.js";
import { METRICS } from "../ui/metrics.js";

/** Axes, tips and text in the page's colours. @param {ReturnType<typeof import("./palette.js").palette>} colours */
export function frame(colours) {
  const text = { color: colours.quiet };
  return {
    axis: { axisLine: { lineStyle: { color: colours.line } }, axisLabel: text, nameTextStyle: text, axisTick: { show: false }, splitLine: { lineStyle: { color: colours.line } } },
    tip: { confine: true, backgroundColor: colours.ground, borderColor: colours.line, textStyle: { color: colours.ink } },
    base: { textStyle: { fontFamily: colours.font } },
  };
}

/**
 * A list of metrics to choose from, with those that were asked for behind the usual ones.
 * @param {string} id
 * @param {string} first key of the metric that is shown first
 * @param {() => void} changed
 */
export function metricChoice(id, first, changed) {
  /** @type {import("../ui/metrics.js").Metric[]} */
  let metrics = METRICS;
  const element = make("select", { id, onchange: changed });
  const fill = () => {
    const before = element.value || first;
    element.replaceChildren(...metrics.map(({ key, label }) => make("option", { value: key }, label)));
    element.value = metrics.some(({ key }) => key === before) ? before : first;
  };
  fill();
  return {
    element,
    metric: () => metrics.find(({ key }) => key === element.value) ?? metrics[0],
    /** @param {import("../ui/metrics.js").Metric[]} more */
    offer(more) {
      if (metrics.length === METRICS.length + more.length) return;
      metrics = [...METRICS, ...more];
      fill();
    },
  };
}

/** A box with a table that is made when it is opened. @param {string} title @param {() => HTMLTableElement | null} table */
export function numbersBeside(title, table) {
  const box = make("div", { className: "box", tabIndex: 0, role: "region", "aria-label": title });
  const fill = () => {
    if (!element.open) return;
    const made = table();
    if (made) box.replaceChildren(made);
  };
  const element = make("details", { className: "terms", ontoggle: fill }, make("summary", {}, title), box);
  return { element, fill };
}

/**
 * A plain table: the first cell of a row is its heading.
 * @param {string[]} headings
 * @param {(string | HTMLElement)[][]} rows
 */
export function table(headings, rows) {
  return make(
    "table",
    { className: "data" },
    make("thead", {}, make("tr", {}, ...headings.map((text, i) => make("th", { scope: "col", className: i === 0 ? "name" : "number" }, text)))),
    make("tbody", {}, ...rows.map(([first, ...rest]) => make("tr", {}, make("th", { scope: "row", className: "name" }, first), ...rest.map((cell) => make("td", { className: "number" }, cell))))),
  );
}
