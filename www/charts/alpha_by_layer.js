// @ts-check
/** @import { Head, Row, LayerInfo } from "../types.js" */
import { make, shown } from "../ui/dom.js";
import { fixed, value } from "../ui/numbers.js";
import { chart } from "./chart.js";
import { mark, palette } from "./palette.js";

/** With more layers than this the points are too dense to mark each. */
const MARKED = 80;

/** Alpha by layer, one line a level, the band [2, 6] shaded. Layers without a fit leave a gap. */
export function alphaByLayer() {
  /** @type {LayerInfo[]} */
  let layers = [];
  /** @type {Head["levels"]} */
  let levels = [];
  /** @type {Map<number, number>} */
  let places = new Map();
  /** @type {Map<string, (number | null)[]>} */
  let alphas = new Map();
  /** @type {Set<string>} */
  const hidden = new Set();

  const log = make("input", { type: "checkbox", id: "alpha-log", onchange: () => picture.redraw(true) });
  const legend = make("div", { className: "legend", role: "group", "aria-label": "Levels shown in the chart" });
  const picture = chart("chart-layers", "Line chart of alpha by layer, one line for each level, with the band from 2 to 6 shaded. The same numbers stand in the table of layers.", option);
  const element = make("div", {}, make("div", { className: "chart-controls" }, legend, make("label", { className: "check" }, log, "log axis")), picture.element);

  /** @param {number} width */
  function option(width) {
    if (layers.length === 0) return null;
    const colours = palette();
    const axis = { axisLine: { lineStyle: { color: colours.line } }, axisLabel: { color: colours.quiet }, splitLine: { lineStyle: { color: colours.line } } };
    return {
      textStyle: { fontFamily: colours.font },
      grid: { left: 44, right: 12, top: 28, bottom: layers.length > MARKED ? 76 : 44 },
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
        type: log.checked ? "log" : "value",
        name: "alpha",
        nameTextStyle: { color: colours.quiet },
        min: log.checked ? 1 : (/** @type {{min: number}} */ { min }) => Math.min(0, Math.floor(min)),
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
          markArea: {
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
          data: hidden.has(level.name) ? [] : alphas.get(level.name),
          connectNulls: false,
          symbol: colours.symbol(i),
          symbolSize: i === 0 ? 6 : 8,
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
    const i = points[0].dataIndex;
    return make(
      "div",
      { className: "chart-tip" },
      make("strong", {}, `${layer.layer_id}  ${shown(layer.name)}`),
      ...levels.filter(({ name }) => !hidden.has(name)).map((level) => make("div", {}, mark(levels.indexOf(level)), `${level.label}: ${fixed(alphas.get(level.name)?.[i], 3)}`)),
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
    on() {},
    /** @param {Head} head */
    begin(head) {
      layers = head.layers;
      levels = head.levels;
      places = new Map(layers.map(({ layer_id }, i) => [layer_id, i]));
      alphas = new Map(levels.map(({ name }) => [name, layers.map(() => null)]));
      for (const name of hidden) if (!alphas.has(name)) hidden.delete(name);
      buildLegend();
      picture.redraw(true);
    },
    /** @param {Row[]} rows */
    add(rows) {
      for (const { quantization, layer_id, alpha } of rows) {
        const line = alphas.get(quantization);
        const place = places.get(layer_id);
        if (line && place !== undefined) line[place] = Number.isFinite(value(alpha)) ? value(alpha) : null;
      }
      picture.redraw();
    },
  };
}
