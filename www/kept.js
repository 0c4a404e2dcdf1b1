// @ts-check
/**
 * Finished rows in this browser's own database (IndexedDB), so that a reload or a crash loses none.
 * A run is found again by what its files are and by the settings that make its numbers; levels and layers may differ.
 * @import { Head, Row } from "./types.js"
 */

const NAME = "heavytail";
/** 1 had a record for each row. */
const VERSION = 2;
/** Runs beyond this many are forgotten, the oldest first. */
const MOST_RUNS = 24;
/** Rows are written at most this often. */
const WRITE_EVERY_MS = 1000;
/** And about so many in one transaction: the page must answer between two of them. */
const AT_ONCE = 200;

/**
 * @typedef {object} KeptRun
 * @property {string} id
 * @property {string} model what tells its files from others, see fingerprint.js
 * @property {string} engine version of the engine that made the numbers
 * @property {Head} head of the latest run
 * @property {boolean} complete
 * @property {number} saved when, milliseconds since 1970
 */

/**
 * A run, its rows by layer, the layers whose record isn't written yet, and whether the run itself is. A record holds what this run was told of a layer.
 * @typedef {{run: KeptRun, layers: Map<number, Row[]>, unwritten: Set<number>, known: boolean}} Writing
 */

/** Nothing here throws: what can't be kept is told once through `onfailure`. */
export class Kept {
  /** @type {Promise<IDBDatabase> | null} */
  #database = null;
  /** The run whose rows come. @type {Writing | null} */
  #writing = null;
  /** The writing under way. @type {Promise<void>} */
  #turn = Promise.resolve();
  #timer = 0;
  #failed = false;
  #onfailure;

  /** @param {(sentence: string) => void} onfailure */
  constructor(onfailure) {
    this.#onfailure = onfailure;
  }

  /**
   * The latest run over these files.
   * @param {string} model
   * @param {string} engine
   * @returns {Promise<{head: Head, rows: Row[], complete: boolean, saved: number} | null>}
   */
  async load(model, engine) {
    try {
      const database = await this.#open();
      const transaction = database.transaction(["runs", "rows"]);
      /** @type {KeptRun[]} */
      const runs = await result(transaction.objectStore("runs").index("model").getAll(model));
      const run = runs.filter((each) => each.engine === engine).sort((a, b) => b.saved - a.saved)[0];
      if (!run) return null;
      const levels = new Set(run.head.levels.map(({ name }) => name));
      const layers = new Set(run.head.layers.map(({ layer_id }) => layer_id));
      /** @type {Row[][]} */
      const rows = await result(transaction.objectStore("rows").getAll(ofRun(run.id)));
      return { ...run, rows: rows.flat().filter((row) => levels.has(row.quantization) && layers.has(row.layer_id)) };
    } catch {
      return null; // as if there were none
    }
  }

  /** A run begins: its rows will follow. @param {string} model @param {string} engine @param {Head} head */
  begin(model, engine, head) {
    void this.#flush();
    const way = { ...head.settings, quantizations: "", layers: "" };
    const run = { id: JSON.stringify([model, engine, way]), model, engine, head, complete: false, saved: Date.now() };
    this.#writing = { run, layers: new Map(), unwritten: new Set(), known: false };
  }

  /** @param {Row[]} rows */
  add(rows) {
    if (!this.#writing || this.#failed) return;
    const { layers, unwritten } = this.#writing;
    for (const row of rows) {
      const known = layers.get(row.layer_id);
      if (known) known.push(row);
      else layers.set(row.layer_id, [row]);
      unwritten.add(row.layer_id);
    }
    this.#timer ||= setTimeout(() => void this.#flush(), WRITE_EVERY_MS);
  }

  /** No more rows will come. @param {boolean} complete whether these are all */
  end(complete) {
    if (!this.#writing || this.#failed) return;
    this.#writing.run.complete = complete;
    void this.#flush(true);
  }

  /** Forgets everything. */
  async clear() {
    this.#writing?.unwritten.clear();
    this.#writing = null;
    try {
      const transaction = (await this.#open()).transaction(["runs", "rows"], "readwrite");
      transaction.objectStore("runs").clear();
      transaction.objectStore("rows").clear();
      await done(transaction);
      this.#failed = false;
    } catch {
      // nothing was kept then
    }
  }

  /** One after the other: what is written later is newer. @param {boolean} [last] */
  #flush(last = false) {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const writing = this.#writing;
    if (writing) this.#turn = this.#turn.then(() => this.#writeAll(writing, last));
    return this.#turn;
  }

  /** @param {Writing} writing @param {boolean} last */
  async #writeAll(writing, last) {
    if ((writing.unwritten.size === 0 && !last) || this.#failed) return;
    try {
      do {
        const layers = taken(writing);
        const ends = last && writing.unwritten.size === 0;
        // With its list of layers a run is larger than many rows: it is written with the first and the last of them.
        const run = writing.known && !ends ? null : { ...writing.run, complete: ends && writing.run.complete };
        writing.known = true;
        await this.#write(writing.run.id, run, layers);
      } while (writing.unwritten.size > 0);
      if (last && this.#writing === writing) this.#writing = null; // with its list of layers
    } catch (error) {
      this.#failed = true;
      this.#writing = null;
      const full = error instanceof DOMException && error.name === "QuotaExceededError";
      this.#onfailure(full ? "This browser's storage is full: a reload would lose these results." : "This browser keeps nothing: a reload would lose these results.");
    }
  }

  /** @param {string} id of the run @param {KeptRun | null} run if it has changed @param {[number, Row[]][]} layers */
  async #write(id, run, layers) {
    const database = await this.#open();
    const transaction = database.transaction(["runs", "rows"], "readwrite", { durability: "relaxed" });
    const written = done(transaction);
    const runs = transaction.objectStore("runs");
    const store = transaction.objectStore("rows");
    // A record a layer: what a request costs, here and in the browser's own processes, is more than what a row takes.
    for (const [layer, rows] of layers) store.put(rows, [id, layer]);
    if (run) {
      runs.put({ ...run, saved: Date.now() });
      const all = runs.index("saved").getAllKeys();
      all.onsuccess = () => {
        for (const old of all.result.slice(0, -MOST_RUNS)) {
          runs.delete(old);
          store.delete(ofRun(String(old)));
        }
      };
    }
    await written;
  }

  #open() {
    this.#database ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(NAME, VERSION);
      request.onupgradeneeded = () => {
        const database = request.result;
        for (const old of [...database.objectStoreNames]) database.deleteObjectStore(old);
        const runs = database.createObjectStore("runs", { keyPath: "id" });
        runs.createIndex("model", "model");
        runs.createIndex("saved", "saved");
        database.createObjectStore("rows");
      };
      request.onsuccess = () => {
        // another tab with a newer page wants to change the database
        request.result.onversionchange = () => request.result.close();
        resolve(request.result);
      };
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error("blocked"));
    });
    return this.#database;
  }
}

/**
 * Layers that are to be written now, with all their rows.
 * @param {{layers: Map<number, Row[]>, unwritten: Set<number>}} writing
 * @returns {[number, Row[]][]}
 */
function taken({ layers, unwritten }) {
  /** @type {[number, Row[]][]} */
  const found = [];
  let rows = 0;
  for (const layer of unwritten) {
    if (rows >= AT_ONCE) break;
    const all = layers.get(layer) ?? [];
    unwritten.delete(layer);
    found.push([layer, all]);
    rows += all.length;
  }
  return found;
}

/** All rows of a run. @param {string} id */
function ofRun(id) {
  return IDBKeyRange.bound([id], [id, []]); // an array is greater than any number or text
}

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** @param {IDBTransaction} transaction @returns {Promise<void>} */
function done(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    transaction.onerror = () => reject(transaction.error);
  });
}
