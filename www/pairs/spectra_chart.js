// @ts-check
/**
 * Both spectra of one weight on one picture.
 * @import { PairSpectrum } from "../types.js"
 */
import { significant } from "../layer/format.js";
import { edges, histogram, points } from "../layer/histogram.js";
import { frame, picture, tip } from "../layer/picture.js";
import { whole } from "../ui/numbers.js";

/** Colours and marks of original and other: of the baseline, and of the first level. */
const [ORIGINAL, OTHER] = [0, 1];

/** @param {{spectra: [PairSpectrum, PairSpectrum] | null}} shown what the view shows */
export function spectraChart(shown) {
  const names = ["original", "other"];
  const counted = () => {
    const lists = shown.spectra?.map(({ eigenvalues }) => eigenvalues) ?? [];
    const shared = edges(lists.filter((list) => list.length > 0), true);
    return lists.map((list) => histogram(list, shared, false));
  };

  function option() {
    const [before, after] = counted();
    if (!shown.spectra || !before || before.edges.length === 0) return null;
    const { base, under, x, y, tooltip, uprights, colours } = frame();
    const densities = [before, after].flatMap(points).map(([, density]) => density);
    const spectrum = (/** @type {import("../layer/histogram.js").Histogram} */ made, /** @type {number} */ i) => ({
      type: "scatter",
      id: `spectrum-${i}`,
      name: names[i],
      data: points(made),
      symbol: colours.symbol(i),
      symbolSize: 7,
      itemStyle: { color: colours.level(i), opacity: 0.8 },
      emphasis: { disabled: true },
    });
    const law = (/** @type {PairSpectrum} */ { fit }, /** @type {number} */ i) => ({
      type: "line",
      id: `fit-${i}`,
      name: `fit, ${names[i]}`,
      data: fit?.line ?? [],
      showSymbol: false,
      clip: true,
      lineStyle: { color: colours.level(i), width: 2, type: i === OTHER ? [6, 4] : "solid" },
      itemStyle: { color: colours.level(i) },
      emphasis: { disabled: true },
      z: 4,
    });
    return {
      ...base,
      grid: under(2),
      xAxis: x("eigenvalue λ", true, { min: before.edges[0], max: before.edges[before.edges.length - 1] }),
      yAxis: y("density", true, { min: Math.min(...densities) / 2, max: Math.max(...densities) * 2 }),
      tooltip: tooltip((found) => {
        const lines = found.filter(({ data }) => Array.isArray(data)).map(({ data, seriesName }) => `${seriesName}: density ${significant(data[1])}`);
        return lines.length ? tip(`λ ≈ ${significant(found[0].data[0])}`, ...lines) : "";
      }),
      series: [
        spectrum(before, ORIGINAL),
        spectrum(after, OTHER),
        ...shown.spectra.map(law),
        uprights(shown.spectra.map(({ fit }, i) => ({ x: fit?.xmin, name: `xmin, ${names[i]}`, color: colours.level(i), dashed: i === OTHER }))),
      ],
    };
  }

  return picture(
    "pair-spectra",
    "Both spectra with their fits",
    "How often eigenvalues of a size occur in each model, and the power laws fitted to both tails from their xmin on.",
    option,
    () => {
      const [before, after] = counted();
      return {
        headings: ["λ from", "to", "original: number", "density", "other: number", "density"],
        rows: before ? before.counts.map((n, i) => [before.edges[i], before.edges[i + 1], whole(n), before.densities[i], whole(after.counts[i]), after.densities[i]]) : [],
      };
    },
    () => [[ORIGINAL, "original, fit as a line"], [OTHER, "other model, fit dashed"]],
  );
}
