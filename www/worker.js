// @ts-check
/**
 * The only module that loads wasm. It slices files, hands the bytes to Rust and posts what comes back.
 * Every request stands alone (it names its files), so a fresh worker can take over at any time.
 * @import { Options, Head, Row, News, Engine, Status, Source, Estimate, DetailPart, DistanceNews, Fit, PairNews, PairReport, PairSpectra, Progress } from "./types.js"
 */
import { bytes, sleep } from "./bytes.js";
import { BUILD, engine } from "./engine.js";
import { fingerprint } from "./fingerprint.js";
import { lockOfThread } from "./messenger.js";
import { compute, joined, ring } from "./reading.js";

/** The comparison is computed at most this often while rows come in. */
const COMPARISON_EVERY_MS = 1000;
/** Rows are posted at most this often, at first sooner: each post costs the page a repaint, which a core that computes has to do. */
const NEWS_EVERY_MS = 1000;
const FIRST_NEWS_MS = 100;

/** The report of a comparison is posted so rarely that making it takes no more than this share of the time. */
const REPORT_SHARE = 0.05;
/** What a sample for the estimated time may cost, in the engine's operations: well under a second. */
const SAMPLE_WORK = 6e9;
/** Pause before asking for the next part of a detail. */
const PART_MS = 15;

/** @type {Promise<{wasm: any, threads: number}> | undefined} */
let loading;
/** The analysis or comparison that runs, if one does. @type {any} */
let running = null;
/** Tells what the run has finished. */
let reportNow = () => {};
/** The lock that this worker holds while it lives, and how many threads were made. */
let alive = "";
let made = 0;
/** Details asked for so far: only the last one goes on. */
let details = 0;

/** @param {number} threads 1: no pool */
async function load(threads) {
  const wasm = await import(engine().script.href);
  await wasm.default();
  const pooled = threads > 1 && self.crossOriginIsolated && typeof wasm.initThreadPool === "function";
  if (pooled) {
    self.Worker = Thread;
    await wasm.initThreadPool(threads);
  }
  return { wasm, threads: pooled ? threads : 1 };
}

/** The workers that initThreadPool makes: they tell of each task that is finished. What goes wrong in one is an error of this worker too, unless it is handled here. */
class Thread extends Worker {
  constructor() {
    super(new URL("./thread.js", import.meta.url), { type: "module", name: alive && lockOfThread(alive, made++) });
    this.addEventListener("message", ({ data }) => {
      if (data === "finished") ring();
    });
  }
}

const requests = {
  /** Holds a lock until this worker ends, however it ends. @param {{life: string}} payload */
  live({ life }) {
    alive = life;
    return new Promise((resolve) => void navigator.locks.request(life, () => new Promise(() => resolve(null))));
  },

  /** @param {{threads: number}} payload @returns {Promise<Engine>} */
  async start({ threads }) {
    loading = load(threads);
    const { wasm, threads: started } = await loading;
    return { version: [wasm.version(), BUILD].filter(Boolean).join("+"), threads: started, defaults: wasm.default_options(), schemes: wasm.schemes() };
  },

  /** @param {{files: Source[], options: Options, adapter?: Source | null}} payload with what the settings of an adapter say of its scale */
  async describe({ files, options, adapter }) {
    const { wasm } = await ready();
    const lora_alpha = adapter ? (wasm.adapter_alpha(new TextDecoder().decode(await bytes(adapter, 0, adapter.size))) ?? null) : null;
    const model = await open(wasm, files);
    try {
      return { head: model.describe(options), lora_alpha };
    } finally {
      release(model);
    }
  },

  /**
   * Rows of an earlier run in `kept` are not computed again.
   * @param {{files: Source[], base: Source[] | null, options: Options, kept: {head: Head, rows: Row[]} | null}} payload
   * @param {(news: News) => void} tell
   */
  async analyze({ files, base, options, kept }, tell) {
    const { wasm, threads } = await ready();
    const sources = [files, base ?? []];
    const analysis = new wasm.Analysis(await open(wasm, files, base), options, threads);
    if (kept) analysis.keep(kept.head, kept.rows);
    running = analysis;
    const began = performance.now();
    let told = -Infinity;
    let compared = -Infinity;
    /** @type {Row[]} */
    let rows = [];
    const report = (/** @type {boolean} */ last, /** @type {News} */ news = {}) => {
      const finished = analysis.take_finished();
      rows = rows.concat(finished.rows);
      const now = performance.now();
      if (!last && now - told < pause(now - began)) return;
      Object.assign(news, { rows, progress: finished.progress });
      if (last || (rows.length > 0 && now - compared >= COMPARISON_EVERY_MS)) {
        news.comparison = analysis.comparison();
        news.verdict = wasm.verdict(news.comparison);
        compared = performance.now();
      }
      tell(news);
      rows = [];
      told = performance.now();
    };
    reportNow = () => report(true);
    try {
      report(false, { head: analysis.head() }); // in one message with what is kept: the page never shows a run that lost it
      await compute(analysis, sources, () => report(false));
      report(true);
    } catch (error) {
      tell({ rows }); // what is finished stays
      throw error;
    } finally {
      running = null;
      reportNow = () => {};
      release(analysis);
    }
  },

  /** Layers to compute first, by id. @param {{layers: number[]}} payload */
  async prioritize({ layers }) {
    running?.prioritize?.(Float64Array.from(layers));
  },

  /**
   * How much work a run is, and how long a sample of it takes here: one layer of the model with the same options.
   * @param {{files: Source[], base: Source[] | null, options: Options, sample: boolean, kept: {head: Head, rows: Row[]} | null}} payload
   * @returns {Promise<Estimate>}
   */
  async estimate({ files, base, options, sample, kept }) {
    const { wasm, threads } = await ready();
    const model = await open(wasm, files, base);
    try {
      const { head, work, layers } = prepared(wasm, model, options, threads, kept);
      if (!sample || running) return { work, layers, levels: head.levels.length, sample: null };
      const layer = sampleLayer(wasm, model, options, threads, head);
      return { work, layers, levels: head.levels.length, sample: layer && (await timed(wasm, model, [files, base ?? []], layer, threads)) };
    } finally {
      release(model);
    }
  },

  /**
   * One layer at one level, a part a message, beside a running analysis: on its pool, or without one between its layers.
   * @param {{files: Source[], base: Source[] | null, options: Options, name: string, level: string}} payload
   * @param {(part: DetailPart) => void} tell
   */
  async detail({ files, base, options, name, level }, tell) {
    const mine = ++details;
    const current = () => {
      if (mine !== details) throw Object.assign(new Error("another layer was asked for"), { name: "cancelled" });
    };
    const { wasm, threads } = await ready();
    const model = await open(wasm, files, base);
    let detail;
    try {
      detail = new wasm.Detail(model, options, name, level, running?.memory() ?? 0);
    } finally {
      release(model);
    }
    try {
      detail.begin(await joined(detail.source(), [files, base ?? []]), threads > 1);
      for (;;) {
        await sleep(PART_MS);
        current();
        const part = detail.take();
        if (part === undefined) break;
        if (part) tell(part);
      }
    } finally {
      release(detail);
    }
  },

  /**
   * Two models, weight by weight. Reports of what is finished come as it goes on.
   * @param {{files: Source[], second: Source[], options: Options}} payload
   * @param {(news: PairNews) => void} tell
   */
  async pairs({ files, second, options }, tell) {
    const { wasm, threads } = await ready();
    const pairs = await openPairs(wasm, files, second, options, threads, 0);
    await throughBoth(pairs, [files, second], (status) => ({ report: pairs.report(status) }), tell);
  },

  /**
   * How far two models are apart, layer by layer.
   * @param {{files: Source[], second: Source[], method: string, options: Options}} payload
   * @param {(news: DistanceNews) => void} tell
   */
  async distances({ files, second, method, options }, tell) {
    const { wasm, threads } = await ready();
    const distances = await openBoth(wasm, files, second, (one, other) => new wasm.Distances(one, other, method, options, threads));
    const names = ["distances.csv", "distances.json"];
    const finished = () => ({ report: distances.report(), files: Object.fromEntries(names.map((name) => [name, distances.export(name)])) });
    await throughBoth(distances, [files, second], finished, tell);
  },

  /** What the run has finished is told now. */
  async report() {
    reportNow();
  },

  /**
   * What two models have in common, from their headers.
   * @param {{files: Source[], second: Source[], options: Options}} payload
   * @returns {Promise<{report: PairReport, progress: Progress}>}
   */
  async match({ files, second, options }) {
    const { wasm, threads } = await ready();
    const pairs = await openPairs(wasm, files, second, options, threads, 0);
    try {
      return { report: pairs.report("cancelled"), progress: pairs.take_finished() };
    } finally {
      release(pairs);
    }
  },

  /**
   * Both spectra of one weight.
   * @param {{files: Source[], second: Source[], options: Options, name: string, quantized_name: string}} payload
   * @returns {Promise<PairSpectra>}
   */
  async spectra({ files, second, options, name, quantized_name }) {
    const { wasm, threads } = await ready();
    const pairs = await openPairs(wasm, files, second, options, threads, running?.memory() ?? 0);
    try {
      const task = pairs.find(name, quantized_name);
      return pairs.spectra(task, await joined(pairs.source(task), [files, second]));
    } finally {
      release(pairs);
    }
  },

  /** @param {{report: PairReport, kind: string}} payload @returns {Promise<string>} */
  async export_pairs({ report, kind }) {
    const { wasm } = await ready();
    return wasm.export_pairs(report, kind);
  },

  /** @param {{eigenvalues: Float64Array, xmin: number, xmax: number}} payload @returns {Promise<Fit | null>} */
  async refit({ eigenvalues, xmin, xmax }) {
    const { wasm } = await ready();
    return wasm.refit(eigenvalues, xmin, xmax);
  },

  /** Nobody looks at the detail any more. */
  async rest() {
    details += 1;
  },

  /** @param {{head: Head, rows: Row[], status: Status, kind: string}} payload @returns {Promise<string>} */
  async export({ head, rows, status, kind }) {
    const { wasm } = await ready();
    return wasm.export_file(head, rows, status, kind);
  },

  /** @param {{files: Source[]}} payload */
  fingerprint: ({ files }) => fingerprint(files),

  /** @param {{head: Head, rows: Row[]}} payload */
  async compare({ head, rows }) {
    const { wasm } = await ready();
    const comparison = wasm.compare(head, rows);
    return { comparison, verdict: wasm.verdict(comparison) };
  },
};

/** How long nothing is posted after a post, in a run that has gone on for so long. @param {number} passed */
function pause(passed) {
  return Math.min(NEWS_EVERY_MS, Math.max(FIRST_NEWS_MS, passed / 2));
}

/**
 * @param {any} wasm @param {Source[]} files @param {Source[]} second @param {Options} options @param {number} threads
 * @param {number} reserved bytes that a run beside it may take
 */
function openPairs(wasm, files, second, options, threads, reserved) {
  return openBoth(wasm, files, second, (original, other) => new wasm.Pairs(original, other, options, threads, reserved));
}

/**
 * Works through two models, and tells how far it is; what is finished is told the less often the more that costs, at the end, and when it is asked for.
 * @param {any} work @param {Source[][]} sources
 * @param {(status: Status) => object} finished what is told of it beside the progress
 * @param {(news: any) => void} tell
 */
async function throughBoth(work, sources, finished, tell) {
  running = work;
  const started = performance.now();
  let told = started;
  let reported = told;
  let cost = 0;
  let rows = 0;
  const report = (/** @type {Progress} */ progress, /** @type {Status} */ status) => {
    const began = performance.now();
    rows = progress.layers_done;
    tell({ progress, ...finished(status) });
    told = reported = performance.now();
    cost = reported - began;
  };
  const news = () => {
    /** @type {Progress} */
    const progress = work.take_finished();
    const now = performance.now();
    if (now - told < pause(now - started)) return;
    told = now;
    if (progress.layers_done > rows && now - reported >= cost / REPORT_SHARE) report(progress, "cancelled");
    else tell({ progress });
  };
  reportNow = () => report(work.take_finished(), "cancelled");
  try {
    reportNow();
    await compute(work, sources, news);
    report(work.take_finished(), "complete");
  } catch (error) {
    try {
      reportNow(); // what is finished stays
    } catch {
      // the engine itself has failed: what it told before stays
    }
    throw error;
  } finally {
    running = null;
    reportNow = () => {};
    release(work);
  }
}

/**
 * What is made of two models.
 * @param {any} wasm @param {Source[]} files @param {Source[]} second
 * @param {(first: any, second: any) => any} make
 */
async function openBoth(wasm, files, second, make) {
  const first = await open(wasm, files);
  try {
    const other = await open(wasm, second);
    try {
      return make(first, other);
    } finally {
      release(other);
    }
  } finally {
    release(first);
  }
}

/**
 * What a run would be, without running it.
 * @param {any} wasm @param {any} model @param {Options} options @param {number} threads @param {{head: Head, rows: Row[]} | null} kept
 */
function prepared(wasm, model, options, threads, kept) {
  const analysis = new wasm.Analysis(model, options, threads);
  try {
    if (kept) analysis.keep(kept.head, kept.rows);
    const { work_total, layers_total, layers_done } = analysis.take_finished().progress;
    return { head: /** @type {Head} */ (analysis.head()), work: work_total, layers: layers_total - layers_done };
  } finally {
    release(analysis);
  }
}

/**
 * The layer with the most work that a sample may cost, with the options to analyse it alone.
 * @param {any} wasm @param {any} model @param {Options} options @param {number} threads @param {Head} head
 * @returns {{name: string, options: Options, work: number} | null} null: even the smallest is too large
 */
function sampleLayer(wasm, model, options, threads, head) {
  const bySize = head.layers.filter((layer) => layer.counted).sort((a, b) => a.M * a.M * a.N * a.rf - b.M * b.M * b.N * b.rf);
  let [low, high] = [0, bySize.length - 1];
  let best = null;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const alone = { ...options, layers: String(bySize[middle].layer_id) };
    const { work } = prepared(wasm, model, alone, threads, null);
    if (work <= SAMPLE_WORK) {
      best = { name: bySize[middle].name, options: alone, work };
      low = middle + 1;
    } else high = middle - 1;
  }
  return best;
}

/**
 * @param {any} wasm @param {any} model @param {Source[][]} sources
 * @param {{name: string, options: Options, work: number}} layer
 * @param {number} threads
 */
async function timed(wasm, model, sources, { name, options, work }, threads) {
  const analysis = new wasm.Analysis(model, options, threads);
  try {
    const began = performance.now();
    await compute(analysis, sources, () => void analysis.take_finished());
    return { name, work, seconds: (performance.now() - began) / 1000 };
  } finally {
    release(analysis);
  }
}

function ready() {
  if (!loading) throw new Error("the worker was asked before it was started");
  return loading;
}

/**
 * Reads the headers, nothing else.
 * @param {any} wasm
 * @param {Source[]} files
 * @param {Source[] | null} [base] the files of the model it is compared with, layer by layer, in a run
 */
async function open(wasm, files, base = null) {
  const model = new wasm.Model();
  try {
    for (const file of files) {
      model.add_file(file.name, file.size);
      for (let wanted = model.wants(); wanted; wanted = model.wants()) model.give(await bytes(file, wanted.begin, wanted.end));
    }
    model.finish();
    if (base) {
      const other = await open(wasm, base);
      model.set_base(other);
      release(other);
    }
    return model;
  } catch (error) {
    release(model);
    throw error;
  }
}

/**
 * Frees a wasm object. After a panic that fails too, and the panic is the error to tell.
 * @param {{free(): void}} object
 */
function release(object) {
  try {
    object.free();
  } catch {
    // the page starts a fresh worker
  }
}

/** @param {unknown} error */
function describe(error) {
  return error instanceof Error || error instanceof DOMException ? { name: error.name, message: error.message } : { name: "Error", message: String(error) };
}

self.onmessage = async ({ data: { id, kind, payload } }) => {
  try {
    const request = /** @type {Record<string, (payload: any, tell: (news: any) => void) => Promise<any>>} */ (requests)[kind];
    self.postMessage({ id, result: await request(payload, (news) => self.postMessage({ id, news })) });
  } catch (error) {
    self.postMessage({ id, error: describe(error) });
  }
};
