// @ts-check
/** Ties the controller to what this browser keeps: rows are kept as they come, and are there when the same files are opened again. */
import { Kept } from "./kept.js";

/**
 * @import { Controller } from "./controller.js"
 * @import { Model, Run } from "./session.js"
 */

const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

/**
 * @param {Controller} controller
 * @param {ReturnType<typeof import("./ui/kept_notice.js").keptNotice>} notice
 */
export function resume(controller, notice) {
  const kept = new Kept((sentence) => notice.show(sentence, false));
  /** What opened models are known by. @type {WeakMap<Model, Promise<string | null>>} */
  const known = new WeakMap();
  /** What is told of their rows. @type {WeakMap<Model, string>} */
  let told = new WeakMap();
  /** Steps of keeping, one after another. */
  let steps = Promise.resolve();
  /** The run whose rows are kept. @type {Run | null} */
  let writing = null;

  /** @param {() => void | Promise<void>} step */
  const then = (step) => {
    steps = steps.then(step, step);
  };

  /** A question to the worker that a cancelled run ends: then it is asked again the next time. @param {Model} model */
  function identify(model) {
    const asked = known.get(model) ?? controller.fingerprint(model.files).catch(() => (known.delete(model), null));
    known.set(model, asked);
    return asked;
  }

  /** @param {Model} model @param {string} sentence */
  const tell = (model, sentence) => {
    told.set(model, sentence);
    if (model === controller.model) notice.show(sentence);
  };

  controller.on("model", async () => {
    const { session, engine } = controller;
    if (!session || !engine) return;
    const { model } = session;
    notice.show(told.get(model) ?? "");
    if (known.has(model)) return; // it was shown before
    const name = await identify(model);
    const found = name && (await kept.load(name, engine.version));
    // Meanwhile it may have been closed, or analysed anew.
    if (!found || found.rows.length === 0 || !controller.sessions.includes(session) || session.run || controller.running?.session === session) return;
    controller.restore(session, found.head, found.rows, found.complete ? "complete" : "cancelled");
    tell(model, `These results were computed here on ${DATE.format(found.saved)} and kept in this browser. ${found.complete ? "" : "Analyze goes on from them."}`);
  });

  controller.on("begun", (/** @type {{session: import("./session.js").Session, run: Run}} */ { session: { model }, run }) => {
    const { engine } = controller;
    if (run.status !== "running" || !engine) return; // what is restored is kept already
    writing = run.base === null ? run : null; // the files alone would not tell whose difference it is
    tell(model, "");
    if (!writing) return;
    const name = identify(model);
    then(async () => {
      const id = await name;
      if (id) kept.begin(id, engine.version, run.head);
    });
  });
  controller.on("found", (/** @type {{run: Run, rows: import("./types.js").Row[]}} */ { run, rows }) => {
    if (run === writing) then(() => kept.add(rows));
  });
  controller.on("phase", () => {
    if (controller.phase === "running" || !writing) return;
    const complete = writing.status === "complete";
    writing = null;
    then(() => kept.end(complete));
  });

  notice.on("clear", async () => {
    await kept.clear();
    told = new WeakMap();
    notice.show("Nothing is kept in this browser any more.", false);
  });
}
