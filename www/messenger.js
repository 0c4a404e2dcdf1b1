// @ts-check
/** An error that crossed from the worker: `name` is its stable code, `message` one clear sentence. */
export class RemoteError extends Error {
  /** @param {{name: string, message: string}} from */
  constructor({ name, message }) {
    super(message);
    this.name = name;
  }
}

/** What the nth thread of a worker holds while it lives. @param {string} life the worker's own lock @param {number} n */
export function lockOfThread(life, n) {
  return `${life} thread ${n}`;
}

/**
 * Requests to one worker, each answered once, with news in between.
 * The worker receives `{id, kind, payload}` and posts `{id, news}`, `{id, result}` or `{id, error}`.
 */
export class Messenger {
  #worker;
  #last = 0;
  #life = `heavytail ${crypto.randomUUID()}`;
  /** Why there is no worker any more. @type {Error | null} */
  #over = null;
  /** Told when the worker is lost without having been asked to stop. @type {(reason: Error) => void} */
  onlost = () => {};
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void, onnews?: (news: any) => void}>} */
  #pending = new Map();

  /** @param {URL} url of a module worker */
  constructor(url) {
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#lose(event.message || "its script could not be loaded");
    };
    void this.#watch();
  }

  /** A worker that the browser stops says nothing, but the lock that it holds while it lives becomes free. */
  async #watch() {
    if (!navigator.locks) return;
    try {
      await this.request("live", { life: this.#life });
      await navigator.locks.request(this.#life, () => this.#lose("the browser stopped it"));
    } catch {
      // ended otherwise
    }
  }

  /** The same for the threads of its pool, without which it would wait for ever. @param {number} threads how many were started */
  watchThreads(threads) {
    for (let n = 0; navigator.locks && threads > 1 && n < threads; n += 1) {
      void navigator.locks.request(lockOfThread(this.#life, n), () => this.#lose("one of its threads stopped")).catch(() => {});
    }
  }

  /**
   * @param {string} kind
   * @param {object} payload
   * @param {(news: any) => void} [onnews]
   * @returns {Promise<any>}
   */
  request(kind, payload = {}, onnews) {
    if (this.#over) return Promise.reject(this.#over);
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onnews });
      this.#worker.postMessage({ id, kind, payload });
    });
  }

  /** Stops the worker at once, whatever it is doing; open requests fail, as cancelled if no other reason is given. */
  abort(reason = /** @type {Error} */ (new RemoteError({ name: "cancelled", message: "cancelled" }))) {
    this.#end(reason);
  }

  /** @param {string} message */
  #lose(message) {
    if (this.#over) return;
    const reason = new RemoteError({ name: "worker", message });
    this.#end(reason);
    this.onlost(reason);
  }

  /** @param {{id: number, news?: any, result?: any, error?: {name: string, message: string}}} answer */
  #receive({ id, news, result, error }) {
    const request = this.#pending.get(id);
    if (!request) return;
    if (news) return request.onnews?.(news);
    this.#pending.delete(id);
    if (error) request.reject(new RemoteError(error));
    else request.resolve(result);
  }

  /** @param {Error} reason */
  #end(reason) {
    this.#over ??= reason;
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }
}
