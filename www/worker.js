// @ts-check
/**
 * The only module that loads wasm. It slices files, hands the bytes to Rust and posts what comes back.
 * Every request stands alone (it names its files), so a fresh worker can take over at any time.
 * @import { Options, Head, Row, News, Engine, Status, Source } from "./types.js"
 */
import { bytes, sleep } from "./bytes.js";
import { engine } from "./engine.js";
import { fingerprint } from "./fingerprint.js";

/** Pause before asking again when all that memory allows is in flight. */
const WAIT_MS = 20;
/** The comparison is computed at most this often while rows come in. */
const COMPARISON_EVERY_MS = 250;
/** Rows are posted at most this often: each post costs the page a repaint. */
const NEWS_EVERY_MS = 100;

/** @type {Promise<{wasm: any, threads: number}> | undefined} */
let loading;

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

/** The workers that initThreadPool makes. */
class Thread extends Worker {
  constructor() {
    super(new URL("./thread.js", import.meta.url), { type: "module" });
  }
}

const requests = {
  /** Holds a lock until this worker ends, however it ends. @param {{life: string}} payload */
  live: ({ life }) => new Promise((resolve) => void navigator.locks.request(life, () => new Promise(() => resolve(null)))),

  /** @param {{threads: number}} payload @returns {Promise<Engine>} */
  async start({ threads }) {
    loading = load(threads);
    const { wasm, threads: running } = await loading;
    return { version: wasm.version(), threads: running, defaults: wasm.default_options() };
  },

  /** @param {{files: Source[], options: Options}} payload */
  async describe({ files, options }) {
    const { wasm } = await ready();
    const model = await open(wasm, files);
    try {
      return model.describe(options);
    } finally {
      release(model);
    }
  },

  /** @param {{files: Source[], options: Options}} payload @param {(news: News) => void} tell */
  async analyze({ files, options }, tell) {
    const { wasm, threads } = await ready();
    const byName = new Map(files.map((file) => [file.name, file]));
    const analysis = new wasm.Analysis(await open(wasm, files), options, threads);
    tell({ head: analysis.head() });
    let told = 0;
    let compared = 0;
    /** @type {Row[]} */
    let rows = [];
    const report = (/** @type {boolean} */ last) => {
      const finished = analysis.take_finished();
      rows = rows.concat(finished.rows);
      const now = performance.now();
      if (!last && now - told < NEWS_EVERY_MS) return;
      /** @type {News} */
      const news = { rows, progress: finished.progress };
      if (last || (rows.length > 0 && now - compared >= COMPARISON_EVERY_MS)) {
        news.comparison = analysis.comparison();
        compared = performance.now();
      }
      tell(news);
      rows = [];
      told = performance.now();
    };
    try {
      for (;;) {
        const next = analysis.next();
        if (next.kind === "done") break;
        if (next.kind === "read") await read(analysis, next, byName.get(next.file));
        else await sleep(WAIT_MS);
        report(false);
      }
      report(true);
    } catch (error) {
      tell({ rows }); // what is finished stays
      throw error;
    } finally {
      release(analysis);
    }
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
    return wasm.compare(head, rows);
  },
};

function ready() {
  if (!loading) throw new Error("the worker was asked before it was started");
  return loading;
}

/**
 * Reads the headers, nothing else.
 * @param {any} wasm
 * @param {Source[]} files
 */
async function open(wasm, files) {
  const model = new wasm.Model();
  try {
    for (const file of files) {
      if (file.name.endsWith(".index.json")) {
        model.add_index(file.name, await bytes(file, 0, file.size));
        continue;
      }
      const first = await bytes(file, 0, Math.min(8, file.size));
      const length = wasm.header_length(file.name, file.size, first);
      model.add_safetensors(file.name, file.size, await bytes(file, 8, 8 + length));
    }
    model.finish();
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

/**
 * One tensor: a file that can't be read costs its row, not the run; a network that is gone ends the run.
 * @param {any} analysis
 * @param {{task: number, name: string, begin: number, end: number}} task
 * @param {Source | undefined} file
 */
async function read(analysis, { task, begin, end }, file) {
  let read;
  try {
    if (!file) throw new Error("its file is not among the opened ones");
    read = await bytes(file, begin, end);
  } catch (error) {
    const { name, message } = describe(error);
    if (name === "network") throw error; // the next one would fare no better
    return analysis.fail(task, message);
  }
  analysis.submit(task, read);
}

/** @param {unknown} error */
function describe(error) {
  return error instanceof Error || error instanceof DOMException ? { name: error.name, message: error.message } : { name: "Error", message: String(error) };
}

self.onmessage = async ({ data: { id, kind, payload } }) => {
  try {
    const request = /** @type {Record<string, (payload: any, tell: (news: News) => void) => Promise<any>>} */ (requests)[kind];
    self.postMessage({ id, result: await request(payload, (news) => self.postMessage({ id, news })) });
  } catch (error) {
    self.postMessage({ id, error: describe(error) });
  }
};
