// @ts-check
/** The way to the engine: one worker, and a fresh one in place of it when that is lost or is to stop. */
import { Messenger, RemoteError } from "./messenger.js";

/** Errors that name a fault of the file or of a setting: the worker is as good as before. */
export const HARMLESS = new Set(["format", "limit", "unsupported", "options", "numeric", "read", "network", "files"]);

/** Threads that don't start block their worker, so it is the page that gives up on them. */
const THREADS_PATIENCE_MS = 15_000;

export class Connection {
  #wanted;
  #told;
  /** @type {Messenger | null} */
  #messenger = null;
  #started = Promise.resolve();
  #renewals = 0;
  /** Whether the worker has answered anything since it was started. */
  #served = false;
  #broken = false;

  /**
   * @param {number} threads how many the page would like
   * @param {object} told what is told of the worker
   * @param {(engine: import("./types.js").Engine) => void} told.started
   * @param {(sentence: string) => void} told.lost a fresh one is on its way
   * @param {(error: unknown) => void} told.broken there is none, for good
   */
  constructor(threads, told) {
    this.#wanted = threads;
    this.#told = told;
  }

  start() {
    this.#started = this.#start();
    return this.#started;
  }

  /** Once the worker is there, or can't be had. */
  get started() {
    return this.#started;
  }

  /** Starts a worker, without threads if it must. @returns {Promise<void>} */
  async #start() {
    this.#messenger = new Messenger(new URL("./worker.js", import.meta.url));
    const mine = this.#messenger;
    const impatience = this.#wanted > 1 ? setTimeout(() => mine.abort(), THREADS_PATIENCE_MS) : 0;
    try {
      const engine = await mine.request("start", { threads: this.#wanted });
      this.#served = false;
      mine.watchThreads(engine.threads);
      mine.onlost = (reason) => this.#replace(mine, reason);
      this.#told.started(engine);
    } catch (error) {
      if (mine !== this.#messenger) return;
      mine.abort();
      if (this.#wanted > 1) {
        this.#wanted = 1;
        return this.#start();
      }
      this.#broken = true;
      this.#told.broken(error);
    } finally {
      clearTimeout(impatience);
    }
  }

  /** A fresh worker in place of the old one, whose requests end as cancelled. */
  renew() {
    this.#renewals += 1;
    this.#messenger?.abort();
    void this.start();
  }

  /**
   * @param {string} kind
   * @param {object} [payload]
   * @param {(news: any) => void} [onnews]
   * @returns {Promise<any>}
   */
  async request(kind, payload, onnews) {
    const renewals = this.#renewals;
    await this.#started;
    if (renewals !== this.#renewals || !this.#messenger || this.#broken) throw new RemoteError({ name: "cancelled", message: "cancelled" });
    const messenger = this.#messenger;
    try {
      const answer = await messenger.request(kind, payload, onnews);
      this.#served = true;
      return answer;
    } catch (error) {
      const name = error instanceof Error ? error.name : "";
      if (name !== "cancelled" && !HARMLESS.has(name)) this.#replace(messenger, error);
      throw error;
    }
  }

  /** To the worker as it is, whose answer nobody waits for. @param {string} kind @param {object} [payload] */
  post(kind, payload) {
    void this.#messenger?.request(kind, payload).catch(() => {});
  }

  /** A fresh worker in place of one that failed. @param {Messenger} lost @param {unknown} error */
  #replace(lost, error) {
    if (lost !== this.#messenger) return;
    const told = sentence(error);
    this.#told.lost(`${told[0].toUpperCase()}${told.slice(1)} It was started again, and what is finished stays.`);
    lost.abort(error instanceof Error ? error : new Error(told));
    if (!this.#served) this.#wanted = 1; // threads that die again and again are none
    this.renew();
  }
}

/** What went wrong, for people. @param {unknown} error */
export function sentence(error) {
  const text = error instanceof Error ? error.message : String(error);
  const told = error instanceof RemoteError && !HARMLESS.has(error.name) ? `the worker failed (${text.replace(/^Uncaught /, "")})` : text;
  return /[.!?…]$/.test(told) ? told : `${told}.`;
}
