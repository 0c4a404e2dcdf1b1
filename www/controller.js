// @ts-check
/**
 * The only state of the page. Widgets read it and are told by name what has changed.
 * @import { Options, Head, Row, Progress, Status, Engine, News, Estimate, DetailPart, Fit, PairNews, PairReport, PairRow, PairSpectra } from "./types.js"
 * @import { Model, Pairs, Run } from "./session.js"
 */
import { Connection, HARMLESS, sentence } from "./connection.js";
import { RemoteError } from "./messenger.js";
import { chooseModel } from "./files.js";
import { optionsOf, speedKey } from "./session.js";

/** With more rows than this their way to the worker would be felt while settings are changed. */
const KEPT_FOR_ESTIMATE = 3000;

/**
 * @typedef {"engine" | "phase" | "model" | "run" | "rows" | "comparison" | "progress" | "second" | "pairs" | "pairs-report" | "pairs-progress" | "alert"} Change
 */

export class Controller {
  /** @type {"starting" | "idle" | "opening" | "running" | "broken"} */
  phase = "starting";
  /** @type {Engine | null} */
  engine = null;
  /** @type {Model | null} */
  model = null;
  /** @type {Run | null} */
  run = null;
  /** The model that the opened one is compared with. @type {Model | null} */
  second = null;
  /** Whether it is also the base model of runs. */
  asBase = false;
  /** @type {Pairs | null} */
  pairs = null;
  /** What runs while the phase is "running". @type {"run" | "pairs"} */
  running = "run";
  /** One sentence, or "" when all is well. */
  alert = "";

  #connection;
  #openings = 0;
  /** The last analysis, until it ends. */
  #analysis = Promise.resolve();
  /** Work per second, by the settings that change it. @type {Map<string, {speed: number, measured: string}>} */
  #speeds = new Map();
  /** @type {Map<Change, Set<(change: any) => void>>} */
  #listeners = new Map();

  /** @param {number} threads how many the page would like */
  constructor(threads) {
    this.#connection = new Connection(threads, {
      started: (engine) => {
        this.engine = engine;
        this.#tell("engine");
        if (this.phase === "starting") this.#enter("idle");
      },
      lost: (told) => {
        // Unless what it was asked for has said more.
        if (this.alert === "") this.#say(told);
      },
      broken: (error) => {
        this.#enter("broken");
        this.#say(`HeavyTail can't start in this browser: ${sentence(error)}`);
      },
    });
  }

  /**
   * @param {Change} change
   * @param {(what: any) => void} fn for "rows" the new rows, for the others nothing
   */
  on(change, fn) {
    if (!this.#listeners.has(change)) this.#listeners.set(change, new Set());
    this.#listeners.get(change)?.add(fn);
  }

  start() {
    return this.#connection.start();
  }

  /**
   * Reads the header of what was given and shows it. The latest call wins.
   * @param {() => Promise<import("./files.js").Found[]> | import("./files.js").Found[]} give
   * @param {() => Options} options asked for when the engine, which has the defaults, is up
   * @returns {Promise<boolean>} whether there is a new model
   */
  async open(give, options) {
    const model = await this.#open(give, options);
    if (!model) return false;
    this.model = model;
    this.closeSecond();
    this.#tell("model");
    return true;
  }

  /** The same with the model that the opened one is compared with. @param {() => Promise<import("./files.js").Found[]> | import("./files.js").Found[]} give @param {() => Options} options */
  async openSecond(give, options) {
    const model = this.model && (await this.#open(give, options));
    if (!model) return false;
    this.second = model;
    this.asBase = false;
    this.#tell("second");
    return true;
  }

  closeSecond() {
    if (!this.second) return;
    this.second = null;
    this.asBase = false;
    this.#tell("second");
  }

  /**
   * @param {() => Promise<import("./files.js").Found[]> | import("./files.js").Found[]} give
   * @param {() => Options} options
   * @returns {Promise<Model | null>} null if it can't be opened, or another was asked for meanwhile
   */
  async #open(give, options) {
    if (this.phase === "broken") return null;
    if (this.phase === "running") {
      this.#say("An analysis is running: cancel it before you open another model.");
      return null;
    }
    const opening = ++this.#openings;
    const stale = () => opening !== this.#openings;
    this.#enter("opening");
    this.#say("");
    try {
      const { files, ignored, adapter } = chooseModel(await give());
      await this.#connection.started;
      // Whether it has adapters, or goes with a base, is a question to the run.
      const { head, lora_alpha } = await this.#connection.request("describe", { files, adapter, options: { ...options(), peft: "no" } });
      return stale() ? null : { files, head, ignored, lora_alpha };
    } catch (error) {
      if (!stale()) this.#fail(error, "This model can't be opened");
      return null;
    } finally {
      if (!stale() && this.phase === "opening") this.#enter("idle");
    }
  }

  /**
   * Analyses the opened model; rows of an earlier run go away when the first news of this one comes.
   * @param {Options} options
   */
  analyze(options) {
    this.#analysis = this.#analyze(options);
    return this.#analysis;
  }

  /** @param {Options} options */
  async #analyze(options) {
    if (!this.model || this.phase !== "idle") return;
    this.running = "run";
    this.#enter("running");
    this.#say("");
    /** @type {Run | null} */
    let run = null;
    const began = performance.now();
    try {
      const base = this.#base();
      await this.#connection.request("analyze", { files: this.model.files, base: base?.files ?? null, options, kept: this.#kept() }, (/** @type {News} */ news) => {
        if (news.head) run = this.#begin(news.head, base);
        if (run) this.#receive(run, news);
      });
      this.#finish(run, "complete");
      this.#remember(options, /** @type {Run | null} */ (run), (performance.now() - began) / 1000);
    } catch (error) {
      this.#finish(run, "cancelled");
      this.#fail(error, "The analysis stopped, and the rows finished until then are kept");
    }
  }

  /** The model that runs are about the difference from. */
  #base() {
    return this.asBase ? this.second : null;
  }

  /** Compares the opened model with the second one. @param {Options} options */
  async compare(options) {
    const { model: first, second } = this;
    if (!first || !second || this.phase !== "idle") return;
    this.running = "pairs";
    this.#enter("running");
    this.#say("");
    /** @type {Pairs | null} */
    let pairs = null;
    const began = performance.now();
    try {
      await this.#connection.request("pairs", { files: first.files, second: second.files, options }, (/** @type {PairNews} */ { report, progress }) => {
        if (!pairs && progress) {
          this.pairs = pairs = { first, second, options, report: null, progress, status: "running", began };
          this.#tell("pairs");
        }
        if (!pairs) return;
        pairs.progress = progress ?? pairs.progress;
        this.#tell("pairs-progress");
        if (!report) return;
        pairs.report = report;
        this.#tell("pairs-report");
      });
      if (pairs) /** @type {Pairs} */ (pairs).status = "complete";
      this.#enter("idle");
    } catch (error) {
      if (pairs) /** @type {Pairs} */ (pairs).status = "cancelled";
      this.#enter("idle");
      this.#fail(error, "The comparison stopped, and the weights finished until then are kept");
    }
  }

  /** What both opened models have in common. @param {Options} options @returns {Promise<{report: PairReport, progress: Progress}>} */
  async match(options) {
    if (!this.model || !this.second) throw new RemoteError({ name: "cancelled", message: "no second model" });
    return this.#connection.request("match", { files: this.model.files, second: this.second.files, options });
  }

  /** Both spectra of a weight of the comparison. @param {PairRow} row @returns {Promise<PairSpectra>} */
  async pairSpectra({ name, quantized_name }) {
    if (!this.pairs) throw new RemoteError({ name: "cancelled", message: "no comparison" });
    const { first, second, options } = this.pairs;
    return this.#connection.request("spectra", { files: first.files, second: second.files, options, name, quantized_name });
  }

  /** @param {string} kind one of the files the engine can write of a comparison @returns {Promise<string | null>} */
  async exportPairs(kind) {
    if (!this.pairs?.report || this.pairs.status === "running") return null;
    try {
      return await this.#connection.request("export_pairs", { report: this.pairs.report, kind });
    } catch (error) {
      this.#fail(error, `${kind} can't be written`);
      return null;
    }
  }

  /** What tells the opened files from others. @returns {Promise<string | null>} */
  async fingerprint() {
    return this.model && this.#connection.request("fingerprint", { files: this.model.files });
  }

  /** Shows rows of an earlier run over the opened model; the next run goes on from them. @param {Head} head @param {Row[]} rows @param {Status} status */
  restore(head, rows, status) {
    const run = this.#begin(head, null, status);
    const levels = new Map(head.layers.map(({ layer_id }) => [layer_id, new Set()]));
    for (const { layer_id, quantization } of rows) levels.get(layer_id)?.add(quantization);
    const layers_done = [...levels.values()].filter(({ size }) => size === head.levels.length).length;
    this.#receive(run, { rows, progress: { ...run.progress, layers_done } });
    this.#enter("idle");
    void this.#compareAgain(run);
  }

  /** A whole run tells the speed better than any sample. @param {Options} options @param {Run | null} run @param {number} seconds */
  #remember(options, run, seconds) {
    const work = run?.progress.work_done ?? 0;
    if (work > 0 && seconds > 1) this.#speeds.set(speedKey(options), { speed: work / seconds, measured: "measured on your last run" });
  }

  /** Rows of this model that need not be computed again; the engine leaves out those that other settings would change. @param {number} [most] */
  #kept(most = Infinity) {
    return this.run && this.run.model === this.model && this.run.base === this.#base() && this.run.rows.length <= most ? { head: this.run.head, rows: this.run.rows } : null;
  }

  /**
   * How long a run would take, by the work of its layers and a sample of it, or an earlier run with the same settings.
   * @param {Options} options
   * @returns {Promise<{layers: number, levels: number, seconds: number | null, measured: string}>} seconds are null when nothing could be measured
   */
  async estimate(options) {
    if (!this.model) throw new RemoteError({ name: "cancelled", message: "no model" });
    // Bytes over a network are read when the run is asked for, not before.
    const base = this.#base()?.files ?? null;
    if (![...this.model.files, ...(base ?? [])].every((file) => file instanceof File)) return { layers: this.model.head.layers.length, levels: options.quantizations.split(",").length, seconds: null, measured: "" };
    const way = speedKey(options);
    const sample = !this.#speeds.has(way);
    const answer = /** @type {Estimate} */ (await this.#connection.request("estimate", { files: this.model.files, base, options, sample, kept: this.#kept(KEPT_FOR_ESTIMATE) }));
    if (answer.sample) this.#speeds.set(way, { speed: answer.sample.work / answer.sample.seconds, measured: `measured on ${answer.sample.name}` });
    const known = this.#speeds.get(way);
    return { layers: answer.layers, levels: answer.levels, seconds: known ? answer.work / known.speed : null, measured: known?.measured ?? "" };
  }

  /** These layers first, of those that are not computed yet. @param {number[]} layers by id */
  prioritize(layers) {
    if (this.phase === "running" && this.running === "run") this.#connection.post("prioritize", { layers });
  }

  /** Goes on with other levels, layers or settings: what is finished and still wanted stays. @param {Options} options */
  async change(options) {
    if (this.phase !== "running" || this.running !== "run") return;
    this.cancel();
    await this.#analysis;
    await this.analyze(options);
  }

  /** Stops the running analysis now; finished rows stay. */
  cancel() {
    if (this.phase === "running") this.#connection.renew();
  }

  /**
   * @param {string} kind one of the files the engine can write
   * @returns {Promise<string | null>}
   */
  async exportFile(kind) {
    if (!this.run || this.run.status === "running") return null;
    const { head, rows, status } = this.run;
    try {
      return await this.#connection.request("export", { head, rows, status, kind });
    } catch (error) {
      this.#fail(error, `${kind} can't be written`);
      return null;
    }
  }

  /**
   * One layer of the run at one level, part by part, also while the run goes on. A later call ends an earlier one.
   * @param {string} name @param {string} level
   * @param {(part: DetailPart) => void} onpart
   */
  async detail(name, level, onpart) {
    if (!this.run?.model) throw new RemoteError({ name: "files", message: "The file of this run is not open any more: open it again." });
    const { model, base, head } = this.run;
    await this.#connection.request("detail", { files: model.files, base: base?.files ?? null, options: optionsOf(head.settings), name, level }, onpart);
  }

  /**
   * The fit to eigenvalues (ascending) from another xmin, by the engine.
   * @param {Float64Array} eigenvalues @param {number} xmin @param {number} xmax
   * @returns {Promise<Fit | null>}
   */
  refit(eigenvalues, xmin, xmax) {
    return this.#connection.request("refit", { eigenvalues, xmin, xmax });
  }

  /** Ends a detail that is under way. */
  rest() {
    this.#connection.post("rest");
  }

  dismiss() {
    this.#say("");
  }

  /** @param {Head} head @param {Model | null} base @param {Run["status"]} status */
  #begin(head, base, status = "running") {
    this.run = {
      head,
      rows: [],
      comparison: [],
      verdict: null,
      model: this.model,
      base,
      progress: { layers_done: 0, layers_total: head.layers.length, work_done: 0, work_total: 0 },
      status,
      began: performance.now(),
    };
    this.#tell("run");
    return this.run;
  }

  /** @param {Run} run @param {News} news */
  #receive(run, { rows, progress, comparison, verdict }) {
    if (rows?.length) {
      run.rows.push(...rows);
      this.#tell("rows", rows);
    }
    if (progress) {
      run.progress = progress;
      this.#tell("progress");
    }
    if (comparison) {
      run.comparison = comparison;
      run.verdict = verdict ?? null;
      this.#tell("comparison");
    }
  }

  /** @param {Run | null} run @param {Status} status */
  #finish(run, status) {
    if (run) run.status = status;
    this.#enter("idle");
    if (run && status === "cancelled") void this.#compareAgain(run);
  }

  /** After a cancel the last comparison may lack the last rows. @param {Run} run */
  async #compareAgain(run) {
    if (run.rows.length === 0) return;
    try {
      const { comparison, verdict } = await this.#connection.request("compare", { head: run.head, rows: run.rows });
      if (run !== this.run) return;
      Object.assign(run, { comparison, verdict });
      this.#tell("comparison");
    } catch {
      // the rows are there, and the next request will say what is wrong
    }
  }

  /** @param {unknown} error @param {string} what */
  #fail(error, what) {
    const name = error instanceof Error ? error.name : "";
    if (name === "cancelled") return;
    this.#say(HARMLESS.has(name) ? sentence(error) : `${what}: ${sentence(error)}`);
  }

  /** @param {Controller["phase"]} phase */
  #enter(phase) {
    this.phase = phase;
    this.#tell("phase");
  }

  /** @param {string} sentence */
  #say(sentence) {
    if (sentence === this.alert) return;
    this.alert = sentence;
    this.#tell("alert");
  }

  /** @param {Change} change @param {any} [what] */
  #tell(change, what) {
    for (const fn of this.#listeners.get(change) ?? []) fn(what);
  }
}
