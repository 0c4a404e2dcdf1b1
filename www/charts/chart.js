// @ts-check
/** What every chart shares: loading the library when first needed, size, colours, saving, redrawing no more often than useful. */
import { make } from "../ui/dom.js";
import { save } from "../ui/save.js";
import { dark, palette } from "./palette.js";

/** While rows stream in, a chart is redrawn at most this often; one that is out of sight once they have stopped for so long. */
const REDRAW_MS = 1000;
const UNSEEN_MS = 3000;
/** What is so close to the window is drawn before it is seen, but only what is seen is drawn again and again. */
const NEAR = "200px";
/** Frames without news after which a chart asks for no more of them: each is work for the whole page, which a core that computes has to do. */
const STILL_FRAMES = 1;
/** And so that drawing it takes no more than this share of the time: there are several. */
const SHARE = 0.03;
/** Room above a saved picture for its title and legend. */
const HEAD = 58;

/** @type {Promise<any> | undefined} */
let library;

/** What makes each chart let go of what it has drawn. @type {Set<() => void>} */
const forgetting = new Set();

/** All charts let go of what they have drawn; the next redraw begins anew. The library keeps for long what it was once given. */
export function forgetCharts() {
  for (const forget of forgetting) forget();
}

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
 * @param {(point: any) => void} [pick] a point was clicked
 * @param {(place: [number, number]) => void} [pickPlace] a place in the first grid was clicked, in its units
 */
export function chart(id, label, option, height, pick, pickPlace) {
  const canvas = make("div", { className: "chart", id, role: "img", "aria-label": label });
  const button = (/** @type {"png" | "svg"} */ kind) =>
    make("button", { type: "button", className: "plain-button", "aria-label": `Save as ${kind.toUpperCase()}: ${label.split(/[.,:]/)[0]}`, "data-save": kind, onclick: () => void keep(kind) }, kind.toUpperCase());
  const element = make("figure", { className: "figure" }, canvas, make("div", { className: "save-chart" }, make("span", { className: "quiet" }, "Save as"), button("png"), button("svg")));
  /** @type {any} */
  let drawn = null;
  /** How often it was forgotten: a drawing that was under way then is given up. */
  let life = 0;
  let timer = 0;
  let width = 0;
  let near = false;
  let seen = false;
  let cost = 0;

  function load() {
    library ??= import(new URL("../vendor/echarts/echarts.esm.min.js", import.meta.url).href);
    return library;
  }

  /** Once, when there is something to draw. @param {any} echarts */
  function prepare(echarts) {
    drawn = echarts.init(canvas);
    drawn.getZr().setSleepAfterStill(STILL_FRAMES);
    drawn.on("finished", () => drawn.getZr().animation.stop()); // whatever changes it starts that again
    if (pick) drawn.on("click", pick);
    if (pickPlace) {
      drawn.getZr().on("click", ({ offsetX, offsetY }) => {
        const place = [offsetX, offsetY];
        if (drawn.containPixel({ gridIndex: 0 }, place)) pickPlace(drawn.convertFromPixel({ gridIndex: 0 }, place));
      });
    }
  }

  async function draw() {
    timer = 0;
    width = canvas.clientWidth;
    if (width === 0) return;
    if (!drawn && !option(width)) return;
    const mine = life;
    const echarts = await load();
    await turn();
    if (mine !== life) return;
    if (!drawn) {
      // The first time code runs that was never run before: in parts, or it would hold the page for long.
      prepare(echarts);
      await turn();
      if (mine !== life) return;
      show({ ...option(width), series: [] });
      await turn();
      if (mine !== life) return;
    }
    const began = performance.now();
    const now = option(width); // rows may have come while the library was loading
    if (!now) return;
    show(now);
    cost = performance.now() - began;
  }

  /** @param {object} now the option */
  function show(now) {
    if (height) canvas.style.height = `${height(width)}px`;
    if (drawn.getWidth() !== canvas.clientWidth || drawn.getHeight() !== canvas.clientHeight) drawn.resize(); // it draws, too
    drawn.setOption({ animation: false, ...now }, { notMerge: false, replaceMerge: ["series", "grid", "xAxis", "yAxis", "title", "visualMap"] });
  }

  forgetting.add(() => {
    life += 1;
    drawn?.dispose();
    drawn = null;
    canvas.replaceChildren();
  });

  /** @param {boolean} [now] if it is in sight, or nearly; else soon */
  function redraw(now = false) {
    if (now && near) {
      clearTimeout(timer);
      timer = setTimeout(draw, 0);
    } else if (!seen) {
      clearTimeout(timer);
      timer = setTimeout(draw, UNSEEN_MS);
    } else if (timer === 0) {
      timer = setTimeout(draw, Math.max(REDRAW_MS, cost / SHARE));
    }
  }

  /** The picture as a file, with a title and a legend that on the page are text beside it. @param {"png" | "svg"} kind */
  async function keep(kind) {
    const now = option(width || canvas.clientWidth);
    if (!now) return;
    const echarts = await load();
    const size = { width: width || canvas.clientWidth, height: canvas.clientHeight + HEAD };
    const picture = echarts.init(null, null, { renderer: "svg", ssr: true, ...size });
    picture.setOption(headed(now, element.closest(".card")?.querySelector("h3")?.textContent ?? label));
    const svg = picture.renderToSVGString();
    picture.dispose();
    const name = id.replace(/^chart-/, "heavytail-");
    if (kind === "svg") return save(`${name}.svg`, new Blob([svg], { type: "image/svg+xml" }));
    save(`${name}.png`, await rasterized(svg, size));
  }

  new ResizeObserver(() => {
    if (canvas.clientWidth !== width) redraw(true);
  }).observe(canvas);
  /** @param {string} rootMargin @param {(isInside: boolean) => void} tell */
  function watch(rootMargin, tell) {
    new IntersectionObserver((entries) => {
      const { isIntersecting } = entries[entries.length - 1];
      tell(isIntersecting);
      if (isIntersecting && timer !== 0) redraw(true);
    }, { rootMargin }).observe(canvas);
  }
  watch(NEAR, (isInside) => (near = isInside));
  watch("0px", (isInside) => (seen = isInside));
  dark.addEventListener("change", () => redraw(true));

  return { element, redraw };
}

/** The option moved down, under a title and a legend. @param {any} option @param {string} title */
function headed(option, title) {
  const colours = palette();
  const down = (/** @type {any} */ part) => (part && typeof part.top === "number" ? { ...part, top: part.top + HEAD } : part);
  const each = (/** @type {any} */ parts) => (Array.isArray(parts) ? parts.map(down) : down(parts));
  const series = [option.series].flat();
  const names = series.filter(({ name, type }) => name && type === "line").map(({ name }) => name);
  const heading = { text: title, left: 12, top: 8, textStyle: { color: colours.ink, fontSize: 15, fontWeight: 600 } };
  return {
    animation: false,
    ...option,
    backgroundColor: colours.ground,
    title: [heading, ...[option.title ?? []].flat().map(down)],
    legend: new Set(names).size > 1 ? { top: 30, left: 12, right: 12, type: "plain", itemHeight: 9, textStyle: { color: colours.ink }, data: [...new Set(names)] } : undefined,
    grid: each(option.grid),
    visualMap: each(option.visualMap),
  };
}

/** @param {string} svg @param {{width: number, height: number}} size @returns {Promise<Blob>} */
async function rasterized(svg, { width, height }) {
  const scale = 2;
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  try {
    const image = new Image(width * scale, height * scale);
    image.src = url;
    await image.decode();
    const canvas = make("canvas", { width: width * scale, height: height * scale });
    canvas.getContext("2d")?.drawImage(image, 0, 0, width * scale, height * scale);
    return await new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture can't be written"))), "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}
