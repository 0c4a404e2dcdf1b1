// @ts-check
/** An error that crossed from the worker: `name` is its stable code, `message` one clear sentence. */
export class RemoteError extends Error {
  /** @param {{name: string, message: string}} from */
  constructor({ name, message }) {
    super(message);
    this.name = name;
  }
}

/**
 * Requests to one worker, each answered once, with news in between.
 * The worker receives `{id, kind, payload}` and posts `{id, news}`, `{id, result}` or `{id, error}`.
 */
export class Messenger {
  #worker;
  #last = 0;
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void, onnews?: (news: any) => void}>} */
  #pending = new Map();

  /** @param {URL} url of a module worker */
  constructor(url) {
    this.#worker = new Worker(url, { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#end(new RemoteError({ name: "worker", message: event.message || "its script could not be loaded" }));
    };
    void this.#watch();
  }

  /** A worker that the browser stops says nothing, but the lock that it holds while it lives becomes free. */
  async #watch() {
    if (!navigator.locks) return;
    const life = `heavytail ${crypto.randomUUID()}`;
    try {
      await this.request("live", { life });
      await navigator.locks.request(life, () => this.#end(new RemoteError({ name: "worker", message: "the browser stopped it" })));
    } catch {
      // ended otherwise
    }
  }

  /**
   * @param {string} kind
   * @param {object} payload
   * @param {(news: any) => void} [onnews]
   * @returns {Promise<any>}
   */
  request(kind, payload = {}, onnews) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onnews });
      this.#worker.postMessage({ id, kind, payload });
    });
  }

  /** Stops the worker at once, whatever it is doing; open requests fail as cancelled. */
  abort() {
    this.#end(new RemoteError({ name: "cancelled", message: "cancelled" }));
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
    this.#worker.terminate();
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }
}
