// @ts-check
/**
 * One layer at one level: its spectra, fits and numbers, over the page.
 * @import { Head, LayerInfo, Row, DetailPart, SpectrumPart, Fit } from "../types.js"
 * @import { Shown } from "./spectrum_charts.js"
 */
import { events, make, shown as spelled } from "../ui/dom.js";
import { count, shape, value, whole } from "../ui/numbers.js";
import { significant } from "./format.js";
import { hillChart, xminChart } from "./fit_charts.js";
import { bulkChart, changeChart, fitChart, randomChart } from "./spectrum_charts.js";
import { valuesTable } from "./values.js";
import { xminSlider } from "./xmin_slider.js";

/** What is told of each verdict. */
const VERDICTS = /** @type {Record<string, string>} */ ({
  reliable: "Nothing speaks against this alpha",
  "short tail": "Short tail",
  "xmin unstable": "Alpha hangs on the choice of xmin",
  "not a power law": "Not a power law",
  "too few eigenvalues": "Too few eigenvalues",
  failed: "No fit",
});

/**
 * @typedef {object} Source what the view asks for its numbers
 * @property {(name: string, level: string, onpart: (part: DetailPart) => void) => Promise<void>} detail
 * @property {(eigenvalues: Float64Array, xmin: number, xmax: number) => Promise<Fit | null>} refit
 * @property {() => void} rest ends a detail that is under way
 */

/** @param {Source} source */
export function layerView(source) {
  const { on, tell } = events();
  const title = make("h2", { id: "layer-title", tabIndex: -1 });
  const facts = make("p", { className: "facts", id: "layer-facts" });
  const levels = make("select", { id: "layer-view-level", onchange: () => show(at, levels.value) });
  const before = make("button", { type: "button", id: "layer-previous", onclick: () => step(-1) }, "‹ Previous");
  const after = make("button", { type: "button", id: "layer-next", onclick: () => step(1) }, "Next ›");
  const link = make("button", { type: "button", id: "layer-link", onclick: copyLink }, "Copy link");
  const close = make("button", { type: "button", id: "layer-close", "aria-label": "Close the layer view", onclick: () => element.close() }, "×");
  const state = make("p", { className: "layer-state", role: "status", id: "layer-state" });
  const verdict = make("p", { className: "layer-verdict", id: "layer-verdict" });

  /** @type {Shown} */
  const now = { baseline: null, level: null, random: null, fit: null, moved: false, index: 0, label: "", baselineLabel: "" };
  const values = valuesTable();
  const slider = xminSlider();
  const fit = fitChart(now, move);
  fit.chart.after(slider.element);
  const change = changeChart(now);
  const bulk = bulkChart(now);
  const pictures = { fit, xmin: xminChart(now), change, bulk, random: randomChart(now), hill: hillChart(now) };
  const element = make(
    "dialog",
    { className: "layer-view", id: "layer-view", "aria-labelledby": "layer-title", onclose: closed },
    make(
      "header",
      { className: "layer-top" },
      make("div", { className: "layer-name" }, title, facts),
      make("div", { className: "layer-controls" }, make("label", { htmlFor: "layer-view-level", className: "spoken" }, "Level"), levels, before, after, link, close),
    ),
    make(
      "div",
      { className: "layer-body" },
      make("div", { className: "layer-line" }, verdict, state),
      make("div", { className: "layer-main" }, fit.element, values.element),
      make("div", { className: "layer-pictures" }, change.element, bulk.element, pictures.random.element, pictures.xmin.element, pictures.hill.element),
    ),
  );

  /** @type {Head | null} */
  let head = null;
  /** @type {LayerInfo[]} */
  let layers = [];
  let at = 0;
  let opened = 0;
  /** @type {Row[]} */
  let rows = [];
  let asked = { busy: false, xmin: NaN };

  /** @param {number} place @param {string} level */
  async function show(place, level) {
    if (!head || !layers[place]) return;
    at = place;
    const mine = ++opened;
    const layer = layers[place];
    const index = Math.max(0, head.levels.findIndex(({ name }) => name === level));
    Object.assign(now, { baseline: null, level: null, random: null, fit: null, moved: false, index, label: head.levels[index].label, baselineLabel: head.levels[0].label });
    rows = [];
    title.textContent = spelled(layer.name);
    facts.textContent = [layer.layer_type, `${shape(layer.shape)} ${layer.dtype}`, count(layer.num_evals, "eigenvalue"), `layer ${whole(place + 1)} of ${whole(layers.length)}`].join(" · ");
    levels.value = head.levels[index].name;
    before.disabled = place === 0;
    after.disabled = place === layers.length - 1;
    verdict.textContent = "";
    verdict.removeAttribute("data-verdict");
    state.textContent = "Computing the spectra …";
    element.dataset.state = "working";
    write(layer.name, head.levels[index].name);
    draw();
    if (!element.open) element.showModal();
    try {
      await source.detail(layer.name, head.levels[index].name, (part) => {
        if (mine === opened) receive(part);
      });
      if (mine !== opened) return;
      state.textContent = "";
      element.dataset.state = "done";
    } catch (error) {
      if (mine !== opened) return;
      state.textContent = error instanceof Error && error.name !== "cancelled" ? error.message : "Stopped: open the layer again to go on.";
      element.dataset.state = "failed";
    }
  }

  /** @param {DetailPart} part */
  function receive(part) {
    if (part.part === "spectrum") {
      // An unchanged layer is its own baseline at every level.
      if (part.place === "baseline") now.baseline = part;
      now.level = part;
      rows[part.place === "baseline" ? 0 : 1] = part.row;
      found();
      state.textContent = "Comparing with random order …";
    } else if (part.part === "randomized") {
      now.random = part;
      rows[rows.length - 1] = part.row;
      state.textContent = "Collecting the evidence …";
    } else {
      rows = part.rows;
    }
    draw();
  }

  /** The fit that was found, in place of the reader's. */
  function found() {
    now.fit = now.level?.fit ?? null;
    now.moved = false;
    slider.begin(now.level);
    slider.show(now.fit, false, NaN);
  }

  /** The reader's xmin; of many moves in a row the last counts. @param {number} xmin */
  async function move(xmin) {
    asked.xmin = xmin;
    if (asked.busy || !now.level) return;
    asked.busy = true;
    const part = now.level;
    try {
      while (Number.isFinite(asked.xmin)) {
        const wanted = asked.xmin;
        asked.xmin = NaN;
        const xmax = value(part.row.xmax);
        const refitted = await source.refit(part.eigenvalues, wanted, Number.isFinite(xmax) ? xmax : Infinity);
        if (part !== now.level) return;
        now.fit = refitted ?? now.fit;
        now.moved = refitted?.xmin !== part.fit?.xmin;
        slider.show(refitted, now.moved, wanted);
        for (const each of [fit, pictures.xmin, pictures.hill]) each.redraw();
      }
    } catch {
      // the worker is gone: what is shown stays
    } finally {
      asked.busy = false;
    }
  }
  slider.on("move", move);
  slider.on("reset", () => {
    found();
    for (const each of [fit, pictures.xmin, pictures.hill]) each.redraw();
  });

  function draw() {
    const { baseline, level } = now;
    const sides = [baseline, level === baseline ? null : level].flatMap((part, i) => (part ? [{ part, row: rows[i] ?? part.row }] : []));
    values.show(sides, sides.map((_, i) => (i === 0 ? now.baselineLabel : now.label)));
    change.element.hidden = level !== null && level === baseline;
    fit.redraw(level ? (level.fit ? "" : `No fit: ${level.row.reason ?? "the reason is not known"}.`) : "");
    change.redraw(level?.noise ? noise(level) : "");
    const beyond = level && level.bulk ? bulk.left() : 0;
    bulk.redraw(beyond > 0 ? `${count(beyond, "eigenvalue")} lie beyond the right edge.` : "");
    const row = rows[rows.length - 1];
    pictures.random.redraw("");
    pictures.xmin.redraw();
    pictures.hill.redraw();
    const word = row?.measures?.verdict;
    if (typeof word === "string") {
      verdict.dataset.verdict = word;
      verdict.replaceChildren(make("strong", {}, VERDICTS[word] ?? word), row.measures?.verdict_reason ? `: ${row.measures.verdict_reason}.` : ".");
    }
  }

  /** @param {SpectrumPart} part */
  function noise({ noise, above_noise, row }) {
    if (!noise) return "";
    const from = noise.is_predicted ? "Edge from the grid's step" : "Edge from the error itself: this scheme has no single step";
    return `${from}, λ = ${significant(noise.edge)}; ${whole(above_noise)} of ${whole(row.num_evals)} eigenvalues of the original weights are above it.`;
  }

  /** @param {number} by */
  function step(by) {
    if (!layers[at + by]) return;
    void show(at + by, levels.value);
    // The button may be gone at the end of the list.
    if (document.activeElement === document.body || (document.activeElement instanceof HTMLButtonElement && document.activeElement.disabled)) title.focus();
  }

  function closed() {
    opened += 1;
    source.rest();
    write(null, null);
    tell("close");
  }

  /** The address says what is open; other keys in it belong to others. @param {string | null} name @param {string | null} level */
  function write(name, level) {
    const keys = new URLSearchParams(location.hash.slice(1));
    for (const [key, text] of [["layer", name], ["level", level]]) {
      if (text === null) keys.delete(/** @type {string} */ (key));
      else keys.set(/** @type {string} */ (key), text);
    }
    const hash = keys.toString();
    history.replaceState(history.state, "", `${location.pathname}${location.search}${hash ? `#${hash}` : ""}`);
  }

  async function copyLink() {
    try {
      await navigator.clipboard.writeText(location.href);
      link.textContent = "Copied";
    } catch {
      link.textContent = "Not allowed";
    }
    setTimeout(() => (link.textContent = "Copy link"), 1500);
  }

  /** What the address asks for, if this run has it. */
  function follow() {
    const keys = new URLSearchParams(location.hash.slice(1));
    const name = keys.get("layer");
    if (name !== null) open(name, keys.get("level") ?? "");
    else if (element.open) element.close();
  }
  addEventListener("hashchange", follow);

  /** @param {string} name @param {string} level */
  function open(name, level) {
    const place = layers.findIndex((layer) => layer.name === name);
    if (!head || place < 0) return false;
    const isOpen = element.open;
    void show(place, level);
    if (!isOpen) title.focus();
    return true;
  }

  /** Lets go of a run, and of what was shown of it. */
  function forget() {
    opened += 1; // parts that are under way are of no use any more
    if (element.open) element.close();
    head = null;
    layers = [];
    rows = [];
    Object.assign(now, { baseline: null, level: null, random: null, fit: null });
    slider.begin(null);
    draw();
  }

  return {
    element,
    on,
    open,
    forget,
    /** @param {Head} begun of the run */
    begin(begun) {
      const wasOpen = element.open; // on another run: the address still names its layer
      forget();
      head = begun;
      layers = begun.layers;
      levels.replaceChildren(...begun.levels.map(({ name, label }) => make("option", { value: name }, label)));
      if (!wasOpen) follow();
    },
  };
}
