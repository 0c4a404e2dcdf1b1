// @ts-check
/** @import { Head, Row, LayerInfo } from "../types.js" */
import { events, make, shown } from "../ui/dom.js";
import { Rows, measured, onAxis } from "../ui/metrics.js";
import { NONE } from "../ui/numbers.js";
import { chart } from "./chart.js";
import { mark, palette } from "./palette.js";
import { metricChoice } from "./picture_parts.js";

/** With more layers than this the points are too dense to mark each. */
const MARKED = 80;

/**
 * A measure by layer, one line a level; with alpha the band [2, 6] is shaded. Layers without a value leave a gap. Tells "open" with
 * {name, layer_id, level} of the point nearest to a click.
 */
export function byLayer() {
  const { on, tell } = events();
  /** @type {LayerInfo[]} */
  let layers = [];
  /** @type {Head["levels"]} */
  let levels = [];
  /** @type {Rows | null} */
  let rows = null;
  /** @type {Set<string>} */
  const hidden = new Set();

  const choice = metricChoice("by-layer-metric", "alpha", () => picture.redraw(true));
  const log = make("input", { type: "checkbox", id: "alpha-log", onchange: () => picture.redraw(true) });
  const legend = make("div", { className: "legend", role: "group", "aria-label": "Levels shown in the chart" });
  const picture = chart("chart-layers", "Line chart of a measure by layer, one line for each level. The same numbers stand in the table of layers.", option, undefined, undefined, open);
  const element = make(
    "div",
    {},
    make("div", { className: "chart-controls" }, make("div", { className: "filters" }, make("label", { htmlFor: "by-layer-metric" }, "Measure"), choice.element), make("label", { className: "check" }, log, "log axis")),
    legend,
    picture.element,
  );

  /** @param {LayerInfo} layer @param {string} level */
  function number(layer, level, metric = choice.metric()) {
    const x = rows?.number(layer.layer_id, level, metric);
    return Number.isFinite(x) ? /** @type {number} */ (x) : null;
  }

  /** @param {[number, number]} place */
  function open([at, y]) {
    const layer = layers[Math.round(at)];
    if (!layer) return;
    const near = levels
      .filter(({ name }) => !hidden.has(name))
      .map(({ name }) => ({ name, x: number(layer, name) }))
      .filter(({ x }) => x !== null)
      .sort((a, b) => Math.abs(Number(a.x) - y) - Math.abs(Number(b.x) - y))[0];
    if (near) tell("open", { name: layer.name, layer_id: layer.layer_id, level: near.name });
  }

  /** @param {number} width */
  function option(width) {
    if (layers.length === 0) return null;
    const colours = palette();
    const metric = choice.metric();
    const isAlpha = metric.key === "alpha";
    const lines = levels.map(({ name }) => (hidden.has(name) ? [] : layers.map((layer) => number(layer, name, metric))));
    const isLog = log.checked && lines.flat().every((x) => x === null || x > 0);
    const axis = { axisLine: { lineStyle: { color: colours.line } }, axisLabel: { color: colours.quiet }, splitLine: { lineStyle: { color: colours.line } } };
    return {
      textStyle: { fontFamily: colours.font },
      grid: { left: 58, right: 12, top: 28, bottom: layers.length > MARKED ? 76 : 44 },
      xAxis: {
        ...axis,
        type: "category",
        data: layers.map(({ layer_id }) => String(layer_id)),
        name: "layer id",
        nameLocation: "middle",
        nameGap: 26,
        nameTextStyle: { color: colours.quiet },
        splitLine: { show: false },
        axisTick: { show: false },
      },
      yAxis: {
        ...axis,
        type: isLog ? "log" : "value",
        name: metric.label,
        nameTextStyle: { color: colours.quiet, align: "left" },
        axisLabel: { color: colours.quiet, formatter: onAxis(metric.text) },
        scale: !isAlpha,
        min: !isAlpha ? undefined : isLog ? 1 : (/** @type {{min: number}} */ { min }) => Math.min(0, Math.floor(min)),
      },
      dataZoom: [
        {
          type: "slider",
          show: layers.length > MARKED,
          height: 18,
          bottom: 8,
          borderColor: colours.line,
          fillerColor: colours.band,
          textStyle: { color: colours.quiet },
          showDataShadow: false,
          brushSelect: false,
        },
      ],
      tooltip: { trigger: "axis", confine: true, backgroundColor: colours.ground, borderColor: colours.line, textStyle: { color: colours.ink }, formatter: tooltip },
      series: [
        {
          type: "line",
          id: "band",
          data: [],
          silent: true,
          markArea: !isAlpha ? undefined : {
            silent: true,
            itemStyle: { color: colours.band },
            label: { show: width > 600, position: "insideTopRight", formatter: "2 to 6", color: colours.quiet, fontSize: 11 },
            data: [[{ name: "2 to 6", yAxis: 2 }, { yAxis: 6 }]],
          },
        },
        ...levels.map((level, i) => ({
          type: "line",
          id: level.name,
          name: level.label,
          data: lines[i],
          connectNulls: false,
          symbol: colours.symbol(i),
          symbolSize: i === 0 ? 6 : 8,
          // no more points than pixels, the extremes among them
          sampling: layers.length > MARKED ? "minmax" : undefined,
          showSymbol: layers.length <= MARKED,
          showAllSymbol: layers.length <= MARKED,
          itemStyle: { color: colours.level(i) },
          lineStyle: { color: colours.level(i), width: i === 0 ? 2.5 : 1.5 },
          emphasis: { disabled: true },
          z: i === 0 ? 3 : 2,
        })),
      ],
    };
  }

  /** @param {{dataIndex: number}[]} points */
  function tooltip(points) {
    const layer = layers[points[0]?.dataIndex];
    if (!layer) return "";
    const metric = choice.metric();
    const text = (/** @type {number | null} */ x) => (x === null ? NONE : metric.text(x));
    return make(
      "div",
      { className: "chart-tip" },
      make("strong", {}, `${layer.layer_id}  ${shown(layer.name)}`),
      ...levels.filter(({ name }) => !hidden.has(name)).map((level) => make("div", {}, mark(levels.indexOf(level)), `${level.label}: ${text(number(layer, level.name))}`)),
    );
  }

  function buildLegend() {
    legend.replaceChildren(
      ...levels.map((level, i) =>
        make(
          "button",
          {
            type: "button",
            "aria-pressed": String(!hidden.has(level.name)),
            onclick: (/** @type {Event} */ event) => {
              if (!hidden.delete(level.name)) hidden.add(level.name);
              /** @type {Element} */ (event.currentTarget).setAttribute("aria-pressed", String(!hidden.has(level.name)));
              picture.redraw(true);
            },
          },
          mark(i),
          level.label,
        ),
      ),
    );
  }

  return {
    element,
    on,
    /** @param {Head} head */
    begin(head) {
      ({ layers, levels } = head);
      rows = new Rows(head);
      for (const name of hidden) if (!levels.some((level) => level.name === name)) hidden.delete(name);
      buildLegend();
      picture.redraw(true);
    },
    /** @param {Row[]} finished */
    add(finished) {
      rows?.add(finished);
      choice.offer(measured(finished));
      picture.redraw();
    },
  };
}
