// @ts-check
/**
 * The pictures that show densities of eigenvalues.
 * @import { SpectrumPart, RandomPart, Fit } from "../types.js"
 */
import { make } from "../ui/dom.js";
import { whole } from "../ui/numbers.js";
import { significant } from "./format.js";
import { edges, histogram, outline, points } from "./histogram.js";
import { frame, picture, tip } from "./picture.js";

const DECADE = Math.LN10;
const LAMBDA = "eigenvalue λ";

/**
 * @typedef {object} Shown what the view shows
 * @property {SpectrumPart | null} baseline
 * @property {SpectrumPart | null} level the baseline's, where the level is the baseline
 * @property {RandomPart | null} random
 * @property {Fit | null} fit the found one, or the one from the reader's xmin
 * @property {boolean} moved whether that xmin is the reader's
 * @property {number} index of the level in the run, for its colour
 * @property {string} label of the level
 * @property {string} baselineLabel
 */

/** @param {{data: number[], seriesName?: string}[]} found @param {string} unit */
function densities(found, unit) {
  const at = found.find(({ data }) => Array.isArray(data));
  if (!at) return "";
  return tip(`λ ≈ ${significant(at.data[0])}`, ...found.filter(({ data }) => Array.isArray(data)).map(({ data, seriesName }) => `${seriesName}: ${significant(data[1])}${unit}`));
}

/** @param {import("./histogram.js").Histogram} a @param {string[]} names @param {import("./histogram.js").Histogram} [b] */
function bins(a, names, b) {
  return {
    headings: ["λ from", "to", ...names.flatMap((name) => [`${name}: number`, "density"])],
    rows: a.counts.map((n, i) => [a.edges[i], a.edges[i + 1], whole(n), a.densities[i], ...(b ? [whole(b.counts[i]), b.densities[i]] : [])]),
  };
}

/** @param {any} colours @param {string} name @param {number[][]} data @param {string} colour @param {boolean} filled @param {object} [line] */
function steps(colours, name, data, colour, filled, line) {
  return { type: "line", id: name, name, step: "end", data, showSymbol: false, symbol: "none", lineStyle: { color: colour, width: 1.5, ...line }, itemStyle: { color: colour }, areaStyle: filled ? { color: colour, opacity: 0.16 } : undefined, emphasis: { disabled: true } };
}

/** The density with the fit, on three kinds of axes, and an xmin to drag. Tells through `onmove(xmin)`. @param {Shown} shown @param {(xmin: number) => void} onmove */
export function fitChart(shown, onmove) {
  let scale = "log-log";
  const scales = ["log-log", "lin-lin", "log-lin"].map((name) =>
    make("label", { className: "chip" }, make("input", { type: "radio", name: "layer-scale", value: name, checked: name === scale, onchange: () => choose(name) }), name.replace("-", "–")),
  );
  const controls = make("fieldset", { className: "layer-scales" }, make("legend", { className: "spoken" }, "Axes"), ...scales);
  const made = picture(
    "fit",
    "Spectrum and fit",
    "How often eigenvalues of a size occur, and the power law fitted to those from xmin on. Drag the upright line, or use the slider, to see the fit from another xmin.",
    option,
    () => bins(histogram(values(), at(), scale === "log-lin"), [shown.label]),
    () => [[shown.index, shown.label], ["ink", shown.moved ? "power law from your xmin" : "fitted power law"]],
    controls,
  );

  const values = () => shown.level?.eigenvalues ?? new Float64Array();
  const at = () => edges([values()], scale !== "lin-lin");

  /** @param {string} name */
  function choose(name) {
    scale = name;
    made.redraw();
  }

  function option() {
    if (!shown.level || values().length === 0) return null;
    const { base, x, y, tooltip, uprights, colours } = frame();
    const logX = scale !== "lin-lin";
    const counted = histogram(values(), at(), scale === "log-lin");
    const colour = colours.level(shown.index);
    const line = (shown.fit?.line ?? []).map(([lambda, density]) => [lambda, scale === "log-lin" ? density * lambda * DECADE : density]);
    const tallest = Math.max(...counted.densities);
    const spectrum = scale === "log-log"
      ? { type: "scatter", id: "spectrum", name: shown.label, data: points(counted), symbol: colours.symbol(shown.index), symbolSize: 7, itemStyle: { color: colour }, emphasis: { disabled: true } }
      : steps(colours, shown.label, outline(counted), colour, true);
    const lowest = Math.min(...counted.densities.filter((d) => d > 0), ...line.map(([, density]) => density));
    return {
      ...base,
      xAxis: x(LAMBDA, logX, { min: counted.edges[0], max: counted.edges[counted.edges.length - 1] }),
      yAxis: y(scale === "log-lin" ? "density per decade" : "density", scale === "log-log", scale === "log-log" ? { min: 10 ** Math.floor(Math.log10(lowest)), max: 10 ** Math.ceil(Math.log10(tallest)) } : { max: tallest * 1.1 }),
      tooltip: tooltip((found) => densities(found, scale === "log-lin" ? " per decade" : "")),
      series: [
        spectrum,
        { type: "line", id: "fit", name: "fit", data: line, showSymbol: false, clip: true, lineStyle: { color: colours.ink, width: 2 }, itemStyle: { color: colours.ink }, emphasis: { disabled: true }, z: 4 },
        uprights([{ x: shown.fit?.xmin, name: shown.moved ? "your xmin" : "xmin", dashed: shown.moved }]),
      ],
    };
  }

  dragging(made.chart, () => shown.fit?.xmin, onmove);
  return made;
}

/** How near the pointer must come to the line, in pixels. */
const REACH = { mouse: 10, touch: 24 };

/**
 * Lets the upright line at `xmin()` be dragged.
 * @param {HTMLElement} element @param {() => number | undefined} xmin @param {(xmin: number) => void} onmove
 */
function dragging(element, xmin, onmove) {
  /** @type {any} */
  let library;
  let held = false;
  const chart = () => library?.getInstanceByDom(element.matches("[_echarts_instance_]") ? element : element.querySelector("[_echarts_instance_]"));
  const place = (/** @type {PointerEvent} */ event) => event.clientX - (chart()?.getDom().getBoundingClientRect().left ?? 0);
  const isNear = (/** @type {PointerEvent} */ event) => {
    const at = xmin();
    return at !== undefined && chart() && Math.abs(chart().convertToPixel({ xAxisIndex: 0 }, at) - place(event)) < (event.pointerType === "touch" ? REACH.touch : REACH.mouse);
  };
  element.addEventListener("pointerenter", async () => (library ??= await import(new URL("../vendor/echarts/echarts.esm.min.js", import.meta.url).href)));
  element.addEventListener("pointerdown", (event) => {
    if (!isNear(event)) return;
    held = true;
    element.setPointerCapture(event.pointerId);
    event.preventDefault();
  }, true);
  element.addEventListener("pointermove", (event) => {
    element.classList.toggle("layer-grab", held || Boolean(isNear(event)));
    if (!held) return;
    const value = chart()?.convertFromPixel({ xAxisIndex: 0 }, place(event));
    if (Number.isFinite(value)) onmove(value);
    event.stopPropagation();
  }, true);
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => (held = false), true);
}

/** Before and after, with the edge of the rounding noise. @param {Shown} shown */
export function changeChart(shown) {
  const made = picture(
    "change",
    "Before and after quantizing",
    "Both spectra. Rounding adds noise; what lies left of its predicted edge is expected to drown in it.",
    option,
    () => {
      const [before, after] = both();
      return bins(before, [shown.baselineLabel, shown.label], after);
    },
    () => [[0, shown.baselineLabel], [shown.index, shown.label]],
  );

  function both() {
    const lists = [shown.baseline, shown.level].map((part) => part?.eigenvalues ?? new Float64Array());
    const shared = edges(lists.filter((list) => list.length > 0), true);
    return lists.map((list) => histogram(list, shared, true));
  }

  function option() {
    if (!shown.baseline || !shown.level || shown.level === shown.baseline) return null;
    const [before, after] = both();
    if (before.edges.length === 0) return null;
    const { base, under, x, y, tooltip, uprights, colours } = frame();
    const edge = shown.level.noise?.edge;
    const [low, high] = [before.edges[0], before.edges[before.edges.length - 1]];
    const inside = edge && edge > low && edge < high;
    return {
      ...base,
      grid: under(2),
      xAxis: x(LAMBDA, true, { min: low, max: high }),
      yAxis: y("density per decade", false),
      tooltip: tooltip((found) => densities(found, " per decade")),
      series: [
        steps(colours, shown.label, outline(after), colours.level(shown.index), true),
        steps(colours, shown.baselineLabel, outline(before), colours.level(0), false),
        uprights([
          { x: inside ? edge : null, name: "noise edge", color: colours.level(4), dashed: true },
          { x: shown.level.det_one, name: "|det X| = 1", color: colours.quiet },
        ]),
      ],
    };
  }
  return made;
}

/** The Marchenko-Pastur law on the bulk. @param {Shown} shown */
export function bulkChart(shown) {
  /** The picture ends here: the tail would press the bulk into a corner. */
  const BEYOND = 2.2;
  const end = () => Math.min((shown.level?.bulk?.bulk_max ?? 0) * BEYOND, shown.level?.eigenvalues.at(-1) ?? 0) || undefined;
  const counted = () => histogram(shown.level?.eigenvalues ?? new Float64Array(), edges([shown.level?.eigenvalues ?? new Float64Array()], false, end()), false);
  const made = picture(
    "bulk",
    "Bulk and Marchenko–Pastur law",
    "The spectrum that independent random weights would have, fitted to the bulk. Eigenvalues beyond its upper edge are larger than independent weights of this fit would give.",
    option,
    () => bins(counted(), [shown.label]),
    () => [[shown.index, shown.label], ["ink", "Marchenko–Pastur law"]],
  );

  function option() {
    if (!shown.level || shown.level.eigenvalues.length === 0) return null;
    const { base, under, x, y, tooltip, uprights, colours } = frame();
    const bulk = shown.level.bulk;
    const made = counted();
    const tallest = Math.max(...made.densities);
    return {
      ...base,
      grid: under(2),
      xAxis: x(LAMBDA, false, { min: 0, max: made.edges[made.edges.length - 1] }),
      yAxis: y("density", false, { max: tallest * 1.25 }),
      tooltip: tooltip((found) => densities(found, "")),
      series: [
        steps(colours, shown.label, outline(made), colours.level(shown.index), true),
        { type: "line", id: "law", name: "Marchenko–Pastur", data: bulk?.density ?? [], showSymbol: false, clip: true, lineStyle: { color: colours.ink, width: 2 }, itemStyle: { color: colours.ink }, emphasis: { disabled: true } },
        uprights([
          { x: bulk?.bulk_min, name: bulk && bulk.bulk_min > bulk.bulk_max / 8 ? "bulk min" : "", color: colours.quiet, dashed: true },
          { x: bulk?.bulk_max, name: "bulk max", color: colours.quiet, dashed: true },
        ]),
      ],
    };
  }
  return { ...made, left: () => (shown.level ? counted().left : 0) };
}

/** The same weights in random order. @param {Shown} shown */
export function randomChart(shown) {
  const made = picture(
    "random",
    "Against the same weights in random order",
    "Shuffling keeps every weight and destroys every correlation between them. What sticks out to the right of the shuffled spectrum comes from correlations.",
    option,
    () => {
      const [own, random] = both();
      return bins(own, [shown.label, "random order"], random);
    },
    () => [[shown.index, shown.label], ["dashed", "random order"]],
  );

  function both() {
    const lists = [shown.level?.eigenvalues ?? new Float64Array(), shown.random?.eigenvalues ?? new Float64Array()];
    const shared = edges(lists.filter((list) => list.length > 0), true);
    return lists.map((list) => histogram(list, shared, true));
  }

  function option() {
    if (!shown.level || !shown.random || shown.random.eigenvalues.length === 0) return null;
    const [own, random] = both();
    const { base, x, y, tooltip, uprights, colours } = frame();
    return {
      ...base,
      xAxis: x(LAMBDA, true, { min: own.edges[0], max: own.edges[own.edges.length - 1] }),
      yAxis: y("density per decade", false),
      tooltip: tooltip((found) => densities(found, " per decade")),
      series: [
        steps(colours, shown.label, outline(own), colours.level(shown.index), true),
        steps(colours, "random order", outline(random), colours.quiet, false, { type: [4, 3] }),
        uprights([{ x: shown.random.eigenvalues.at(-1), name: "random max", color: colours.quiet, dashed: true }]),
      ],
    };
  }
  return made;
}
