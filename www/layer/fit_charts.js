// @ts-check
/** The pictures of what alpha would be elsewhere. @import { Shown } from "./spectrum_charts.js" */
import { fixed, whole } from "../ui/numbers.js";
import { significant } from "./format.js";
import { frame, picture, tip } from "./picture.js";

/** Alphas of tails of a few values go anywhere: the axis ends here, or at so many times the found alpha. */
const HIGH = { least: 6, times: 2.2 };

/** @param {Shown} shown */
function top(shown) {
  return Math.ceil(Math.max(HIGH.least, HIGH.times * (shown.level?.fit?.alpha ?? 0)));
}

/** Alpha above, D below, by xmin. @param {Shown} shown */
export function xminChart(shown) {
  return picture(
    "xmin",
    "Alpha and D by xmin",
    "Alpha and the distance D for every xmin; the fit takes the smallest D. Shaded: the alphas of all fits within a tenth of it. A narrow band means that alpha does not hang on the choice.",
    option,
    () => ({ headings: ["xmin", "tail", "alpha", "D"], rows: (shown.level?.curve ?? []).map((p) => [p.xmin, whole(p.tail_len), fixed(p.alpha, 4), fixed(p.D, 4)]) }),
    () => [[shown.index, shown.label], ["band", "alphas nearly as good"]],
  );

  function option() {
    const part = shown.level;
    if (!part || part.curve.length === 0) return null;
    const { base, x, y, tooltip, colours, uprights } = frame();
    const colour = colours.level(shown.index);
    const line = (/** @type {string} */ id, /** @type {number} */ axis, /** @type {number[][]} */ data, /** @type {object} */ more) => ({ type: "line", id, name: id, xAxisIndex: axis, yAxisIndex: axis, data, showSymbol: false, clip: true, lineStyle: { color: colour, width: 1.75 }, itemStyle: { color: colour }, emphasis: { disabled: true }, ...more });
    const [low, high] = [part.curve[0].xmin, part.curve[part.curve.length - 1].xmin];
    const upright = (/** @type {number} */ axis) => ({ ...uprights([{ x: shown.fit?.xmin, name: axis === 0 ? (shown.moved ? "your xmin" : "xmin") : "", dashed: shown.moved }]), id: `uprights-${axis}`, xAxisIndex: axis, yAxisIndex: axis });
    return {
      ...base,
      grid: [
        { left: 56, right: 28, top: 24, height: "42%" },
        { left: 56, right: 28, top: "60%", bottom: 44 },
      ],
      xAxis: [x("", true, { gridIndex: 0, min: low, max: high, axisLabel: { show: false } }), x("xmin", true, { gridIndex: 1, min: low, max: high })],
      yAxis: [y("alpha", false, { gridIndex: 0, min: 1, max: top(shown) }), y("D", false, { gridIndex: 1, min: 0, splitNumber: 2 })],
      axisPointer: { link: [{ xAxisIndex: "all" }] },
      tooltip: tooltip((found) => {
        const point = part.curve[found[0]?.dataIndex];
        return point ? tip(`xmin = ${significant(point.xmin)}`, `alpha ${fixed(point.alpha, 3)}`, `D ${fixed(point.D, 4)}`, `${whole(point.tail_len)} in the tail`) : "";
      }),
      series: [
        line("alpha", 0, part.curve.map((p) => [p.xmin, p.alpha]), part.plateau ? { markArea: { silent: true, itemStyle: { color: colours.band }, data: [[{ yAxis: part.plateau[0] }, { yAxis: Math.min(part.plateau[1], top(shown)) }]] } } : {}),
        line("D", 1, part.curve.map((p) => [p.xmin, p.D]), {}),
        upright(0),
        upright(1),
      ],
    };
  }
}

/** Hill's alpha by the number of values. @param {Shown} shown */
export function hillChart(shown) {
  return picture(
    "hill",
    "Hill curve",
    "Alpha from the k largest eigenvalues alone, without a search for xmin. A power law shows as a level stretch.",
    option,
    () => ({ headings: ["k", "λ before them", "alpha", "σ"], rows: (shown.level?.hill ?? []).map((p) => [whole(p.k), p.threshold, fixed(p.alpha, 4), fixed(p.sigma, 4)]) }),
    () => [[shown.index, shown.label]],
  );

  function option() {
    const part = shown.level;
    if (!part || part.hill.length === 0) return null;
    const { base, x, y, tooltip, colours, uprights } = frame();
    const colour = colours.level(shown.index);
    return {
      ...base,
      xAxis: x("k largest eigenvalues", true, { min: 1, max: part.hill[part.hill.length - 1].k }),
      yAxis: y("alpha", false, { min: 1, max: top(shown) }),
      tooltip: tooltip((found) => {
        const point = part.hill[found[0]?.dataIndex];
        return point ? tip(`${whole(point.k)} largest`, `alpha ${fixed(point.alpha, 3)} ± ${fixed(point.sigma, 3)}`, `above λ = ${significant(point.threshold)}`) : "";
      }),
      series: [
        { type: "line", id: "hill", name: "alpha", data: part.hill.map((p) => [p.k, p.alpha]), showSymbol: false, clip: true, lineStyle: { color: colour, width: 1.75 }, itemStyle: { color: colour }, emphasis: { disabled: true } },
        uprights([{ x: shown.fit?.tail_len, name: shown.moved ? "your tail" : "the fit's tail", dashed: shown.moved }]),
      ],
    };
  }
}
