// @ts-check
/**
 * The only state of the page. Widgets read it and are told by name what has changed.
 * @import { Options, Head, Row, Progress, Status, Engine, News, Estimate, DetailPart, DistanceNews, Fit, PairNews, PairReport, PairRow, PairSpectra } from "./types.js"
 * @import { Distances, Model, Pairs, Run, Session } from "./session.js"
 */
import { Connection, HARMLESS, sentence } from "./connection.js";
import { RemoteError } from "./messenger.js";
import { chooseModel } from "./files.js";
import { baseOf, keptOf, looksLike, optionsOf, speedKey } from "./session.js";
import { nameOf } from "./ui/model_name.js";

/** With more rows than this their way to the worker would be felt while settings are changed. */
const KEPT_FOR_ESTIMATE = 3000;

/** How long a comparison or distances that are cancelled may take to say what it has finished. */
const LAST_WORD_MS = 1000;

/**
 * "begun" and "found" are told of every run, the rest of the session that is shown.
 * @typedef {"engine" | "phase" | "sessions" | "begun" | "found" | "model" | "run" | "rows" | "comparison" | "progress" | "second" | "pairs" | "pairs-report" | "pairs-progress" | "distances" | "distances-progress" | "alert"} Change
 */

export class Controller {
  /** @type {"starting" | "idle" | "opening" | "running" | "broken"} */
  phase = "starting";
  /** @type {Engine | null} */
  engine = null;
  /** The opened models, in the order in which they were opened. @type {Session[]} */
  sessions = [];
  /** The one that is shown. @type {Session | null} */
  session = null;
  /** What runs while the phase is "running", and in which session: one thing at a time. @type {{what: "analyze" | "pairs" | "distances", session: Session, isChanged: boolean} | null} isChanged: settings are other ones now */
  running = null;
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

  get model() {
    return this.session?.model ?? null;
  }

  get run() {
    return this.session?.run ?? null;
  }

  /** The model that the shown one is compared with. */
  get second() {
    return this.session?.second ?? null;
  }

  get pairs() {
    return this.session?.pairs ?? null;
  }

  /** Whether this is what runs now, and in the session that is shown. @param {"analyze" | "pairs" | "distances"} what */
  runs(what) {
    return this.running?.what === what && this.running.session === this.session;
  }

  /**
   * @param {Change} change
   * @param {(what: any) => void} fn for "rows" the new rows, for "begun" {session, run}, for "found" {run, rows}, for the others nothing
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
    const opened = await this.#open(give, options);
    if (!opened) return false;
    const { model, again } = opened;
    const { files, ignored, lora_alpha } = model;
    const isOpen = again !== null && this.sessions.includes(again); // it may have been closed meanwhile
    if (isOpen) Object.assign(again.model, { files, ignored, lora_alpha }); // what is read from now on is what was given last
    else this.sessions.push({ model, options: null, run: null, second: null, asBase: false, pairs: null });
    this.show(isOpen ? again : this.sessions[this.sessions.length - 1]);
    return true;
  }

  /** The session of the same files, if they are open. @param {Model} model */
  async #find(model) {
    const like = this.sessions.filter((session) => looksLike(session.model.files, model.files));
    if (like.length === 0) return null;
    const known = (/** @type {Model} */ { files }) => this.fingerprint(files).catch(() => null);
    const wanted = await known(model);
    for (const session of like) if (wanted !== null && (await known(session.model)) === wanted) return session;
    return null;
  }

  /** Shows another of the opened models. @param {Session | null} session */
  show(session) {
    this.session = session;
    for (const change of /** @type {Change[]} */ (["sessions", "model", "second", "pairs", "run"])) this.#tell(change);
    if (!session?.run) return;
    this.#tell("rows", session.run.rows);
    this.#tell("progress");
    this.#tell("comparison");
  }

  /** Forgets an opened model; what runs in it is stopped. @param {Session} session */
  close(session) {
    const place = this.sessions.indexOf(session);
    if (place < 0) return;
    if (this.running?.session === session) this.#connection.renew();
    this.sessions.splice(place, 1);
    if (this.session === session) this.show(this.sessions[Math.min(place, this.sessions.length - 1)] ?? null);
    else this.#tell("sessions");
  }

  /** The settings of the session that is shown. @param {Options} options */
  choose(options) {
    if (this.session) this.session.options = options;
    if (this.running && this.runs("analyze")) this.running.isChanged = true;
  }

  /** As `open`, with the model that the shown one is compared with. @param {() => Promise<import("./files.js").Found[]> | import("./files.js").Found[]} give @param {() => Options} options */
  async openSecond(give, options) {
    const { session } = this;
    const opened = session && (await this.#open(give, options));
    if (!opened) return false;
    Object.assign(session, { second: opened.model, asBase: false });
    if (session === this.session) this.#tell("second");
    return session === this.session;
  }

  closeSecond() {
    if (!this.second) return;
    Object.assign(/** @type {Session} */ (this.session), { second: null, asBase: false });
    this.#tell("second");
  }

  /** Whether runs are about the difference from the second model. @param {boolean} isBase */
  setBase(isBase) {
    if (this.session) this.session.asBase = isBase;
  }

  /**
   * @param {() => Promise<import("./files.js").Found[]> | import("./files.js").Found[]} give
   * @param {() => Options} options
   * @returns {Promise<{model: Model, again: Session | null} | null>} with the session that has it already; null if it can't be opened, or another was asked for meanwhile
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
      // Whether it has adapters, or goes with a base, is a question to the run; and which of its layers.
      const { head, lora_alpha } = await this.#connection.request("describe", { files, adapter, options: { ...options(), layers: "", peft: "no" } });
      const model = { files, head, ignored, lora_alpha };
      const again = await this.#find(model);
      return stale() ? null : { model, again };
    } catch (error) {
      if (!stale()) this.#fail(error, "This model can't be opened");
      return null;
    } finally {
      if (!stale() && this.phase === "opening") this.#enter("idle");
    }
  }

  /**
   * Analyses the shown model; rows of an earlier run go away when the first news of this one comes.
   * @param {Options} options
   */
  analyze(options, session = this.session) {
    this.#analysis = this.#analyze(session, options);
    return this.#analysis;
  }

  /** @param {Session | null} session @param {Options} options */
  async #analyze(session, options) {
    if (!session || this.phase !== "idle") return;
    /** @type {Run | null} */
    let run = null;
    const began = performance.now();
    const base = baseOf(session);
    const payload = { files: session.model.files, base: base?.files ?? null, options, kept: keptOf(session) };
    const onnews = (/** @type {News} */ news) => {
      if (news.head) run = this.#begin(session, news.head, base);
      if (run) this.#receive(run, news);
    };
    const isComplete = await this.#work("analyze", session, payload, onnews, () => run, "The analysis stopped, and the rows finished until then are kept");
    const found = /** @type {Run | null} */ (run);
    if (isComplete) this.#remember(options, found, (performance.now() - began) / 1000);
    else if (found && session.run === found && this.sessions.includes(session)) void this.#compareAgain(found);
  }

  /**
   * The one thing that runs, to its end.
   * @param {"analyze" | "pairs" | "distances"} what @param {Session} session @param {object} payload @param {(news: any) => void} onnews
   * @param {() => Run | Pairs | Distances | null} found what has come of it so far
   * @param {string} stopped what is told when it can't go on
   * @returns {Promise<boolean>} whether it came to its end
   */
  async #work(what, session, payload, onnews, found, stopped) {
    this.running = { what, session, isChanged: false };
    this.#enter("running");
    this.#say("");
    const failure = await this.#connection.request(what, payload, onnews).then(() => null, (error) => error);
    const result = found();
    if (result) Object.assign(result, { status: failure ? "cancelled" : "complete", ended: performance.now() });
    if (this.phase === "running") this.#enter("idle"); // else the worker is gone for good
    const where = session === this.session || !this.sessions.includes(session) ? "" : `${nameOf(session.model.head.model)}: `;
    if (failure) this.#fail(failure, stopped, where);
    return !failure;
  }

  /** Compares the shown model with its second one. @param {Options} options */
  async compare(options) {
    const { session } = this;
    if (!session?.second || this.phase !== "idle") return;
    const { model: first, second } = session;
    /** @type {Pairs | null} */
    let pairs = null;
    const began = performance.now();
    const tell = (/** @type {Change} */ change) => session === this.session && this.#tell(change);
    const onnews = (/** @type {PairNews} */ { report, progress }) => {
      if (!pairs && progress) {
        session.pairs = pairs = { first, second, options, report: null, distances: null, progress, status: "running", began, ended: null };
        tell("pairs");
      }
      if (!pairs) return;
      Object.assign(pairs, { progress: progress ?? pairs.progress, report: report ?? pairs.report });
      tell("pairs-progress");
      if (report) tell("pairs-report");
    };
    await this.#work("pairs", session, { files: first.files, second: second.files, options }, onnews, () => pairs, "The comparison stopped, and the weights finished until then are kept");
  }

  /** How far the two models of the comparison are apart, layer by layer. @param {string} method of the engine's */
  async measureDistances(method) {
    const { session, pairs } = this;
    if (!session || !pairs || this.phase !== "idle") return;
    const { first, second, options } = pairs;
    const progress = { layers_done: 0, layers_total: 0, work_done: 0, work_total: 0 };
    /** @type {Distances} */
    const found = { method, report: null, files: {}, progress, status: "running", began: performance.now(), ended: null };
    const tell = (/** @type {Change} */ change) => pairs === this.pairs && this.#tell(change);
    const onnews = (/** @type {DistanceNews} */ news) => {
      Object.assign(found, news);
      pairs.distances = found;
      tell(news.report ? "distances" : "distances-progress");
    };
    await this.#work("distances", session, { files: first.files, second: second.files, method, options }, onnews, () => found, "The distances stopped, and the layers finished until then are kept");
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
    return this.#written("export_pairs", { report: this.pairs.report, kind });
  }

  /** @param {string} request @param {{kind: string, [more: string]: any}} payload @returns {Promise<string | null>} */
  async #written(request, payload) {
    try {
      return await this.#connection.request(request, payload);
    } catch (error) {
      this.#fail(error, `${payload.kind} can't be written`);
      return null;
    }
  }

  /** What tells files from others. @param {import("./types.js").Source[]} files @returns {Promise<string | null>} */
  fingerprint(files) {
    return this.#connection.request("fingerprint", { files });
  }

  /** Gives an opened model the rows of an earlier run; the next run goes on from them. @param {Session} session @param {Head} head @param {Row[]} rows @param {Status} status */
  restore(session, head, rows, status) {
    const run = this.#begin(session, head, null, status);
    const levels = new Map(head.layers.map(({ layer_id }) => [layer_id, new Set()]));
    for (const { layer_id, quantization } of rows) levels.get(layer_id)?.add(quantization);
    const layers_done = [...levels.values()].filter(({ size }) => size === head.levels.length).length;
    this.#receive(run, { rows, progress: { ...run.progress, layers_done } });
    this.#tell("phase");
    void this.#compareAgain(run);
  }

  /** A whole run tells the speed better than any sample. @param {Options} options @param {Run | null} run @param {number} seconds */
  #remember(options, run, seconds) {
    const work = run?.progress.work_done ?? 0;
    if (work > 0 && seconds > 1) this.#speeds.set(speedKey(options), { speed: work / seconds, measured: "measured on your last run" });
  }

  /**
   * How long a run would take, by the work of its layers and a sample of it, or an earlier run with the same settings.
   * @param {Options} options
   * @returns {Promise<{layers: number, levels: number, seconds: number | null, measured: string}>} seconds are null when nothing could be measured
   */
  async estimate(options) {
    const { session } = this;
    if (!session) throw new RemoteError({ name: "cancelled", message: "no model" });
    const { files, head } = session.model;
    // Bytes over a network are read when the run is asked for, not before.
    const base = baseOf(session)?.files ?? null;
    if (![...files, ...(base ?? [])].every((file) => file instanceof File)) return { layers: head.layers.length, levels: options.quantizations.split(",").length, seconds: null, measured: "" };
    const way = speedKey(options);
    const sample = !this.#speeds.has(way);
    const answer = /** @type {Estimate} */ (await this.#connection.request("estimate", { files, base, options, sample, kept: keptOf(session, KEPT_FOR_ESTIMATE) }));
    if (answer.sample) this.#speeds.set(way, { speed: answer.sample.work / answer.sample.seconds, measured: `measured on ${answer.sample.name}` });
    const known = this.#speeds.get(way);
    return { layers: answer.layers, levels: answer.levels, seconds: known ? answer.work / known.speed : null, measured: known?.measured ?? "" };
  }

  /** These layers first, of those that are not computed yet. @param {number[]} layers by id */
  prioritize(layers) {
    if (this.runs("analyze")) this.#connection.post("prioritize", { layers });
  }

  /** Goes on with other levels, layers or settings: what is finished and still wanted stays. @param {Options} options */
  async change(options) {
    const { session } = this;
    if (!this.runs("analyze")) return;
    void this.cancel();
    await this.#analysis;
    await this.analyze(options, session);
  }

  /** Stops what runs now; what is finished stays. */
  async cancel() {
    const { running } = this;
    // News come now and then only: a worker that answers is asked for what was finished since.
    if (running) await Promise.race([this.#connection.request("report").catch(() => {}), new Promise((resolve) => setTimeout(resolve, LAST_WORD_MS))]);
    if (running && running === this.running) this.#connection.renew();
  }

  /** @param {string} kind one of the files the engine can write @returns {Promise<string | null>} */
  async exportFile(kind) {
    if (!this.run || this.run.status === "running") return null;
    const { head, rows, status } = this.run;
    return this.#written("export", { head, rows, status, kind });
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

  /** @param {Session} session @param {Head} head @param {Model | null} base @param {Run["status"]} status */
  #begin(session, head, base, status = "running") {
    /** @type {Run} */
    const run = {
      head,
      rows: [],
      comparison: [],
      verdict: null,
      model: session.model,
      base,
      progress: { layers_done: 0, layers_total: head.layers.length, work_done: 0, work_total: 0 },
      status,
      began: performance.now(),
      ended: null,
    };
    session.run = run;
    this.#tell("begun", { session, run });
    if (session === this.session) this.#tell("run");
    return run;
  }

  /** @param {Run} run @param {News} news */
  #receive(run, { rows, progress, comparison, verdict }) {
    const tell = (/** @type {Change} */ change, /** @type {Row[]} */ what = []) => run === this.run && this.#tell(change, what);
    if (rows?.length) {
      for (const row of rows) run.rows.push(row);
      this.#tell("found", { run, rows });
      tell("rows", rows);
    }
    if (progress) {
      run.progress = progress;
      tell("progress");
    }
    if (comparison) {
      run.comparison = comparison;
      run.verdict = verdict ?? null;
      tell("comparison");
    }
  }

  /** After a cancel the last comparison may lack the last rows. @param {Run} run */
  async #compareAgain(run) {
    if (run.rows.length === 0) return;
    try {
      const { comparison, verdict } = await this.#connection.request("compare", { head: run.head, rows: run.rows });
      Object.assign(run, { comparison, verdict });
      if (run === this.run) this.#tell("comparison");
    } catch {
      // the rows are there, and the next request will say what is wrong
    }
  }

  /** @param {unknown} error @param {string} what @param {string} [where] the name of a model that isn't shown */
  #fail(error, what, where = "") {
    const name = error instanceof Error ? error.name : "";
    if (name === "cancelled") return;
    this.#say(where + (HARMLESS.has(name) ? sentence(error) : `${what}: ${sentence(error)}`));
  }

  /** @param {Controller["phase"]} phase */
  #enter(phase) {
    this.phase = phase;
    if (phase !== "running") this.running = null;
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
