// @ts-check
/** Ties the controller to what this browser keeps: rows are kept as they come, and are there when the same files are opened again. */
import { Kept } from "./kept.js";

/** @import { Controller } from "./controller.js" */

const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });

/**
 * @param {Controller} controller
 * @param {ReturnType<typeof import("./ui/kept_notice.js").keptNotice>} notice
 */
export function resume(controller, notice) {
  const kept = new Kept((sentence) => notice.show(sentence, false));
  /** What the opened model is known by. @type {Promise<string | null>} */
  let known = Promise.resolve(null);
  /** Steps of keeping, one after another. */
  let steps = Promise.resolve();
  let restoring = false;
  let writing = false;

  /** @param {() => void | Promise<void>} step */
  const then = (step) => {
    steps = steps.then(step, step);
  };

  controller.on("model", async () => {
    const { model, engine } = controller;
    if (!model || !engine) return;
    notice.show("");
    known = controller.fingerprint().catch(() => null);
    const name = await known;
    const found = name && (await kept.load(name, engine.version));
    if (!found || found.rows.length === 0 || controller.model !== model || controller.phase !== "idle" || controller.run?.model === model) return;
    restoring = true;
    controller.restore(found.head, found.rows, found.complete ? "complete" : "cancelled");
    restoring = false;
    notice.show(`These results were computed here on ${DATE.format(found.saved)} and kept in this browser. ${found.complete ? "" : "Analyze goes on from them."}`);
  });

  controller.on("run", () => {
    const { run, engine } = controller;
    if (!run || !engine || restoring) return;
    writing = run.base === null; // the files alone would not tell whose difference it is
    notice.show("");
    if (!writing) return;
    const name = known;
    then(async () => {
      const model = await name;
      if (model) kept.begin(model, engine.version, run.head);
    });
  });
  controller.on("rows", (rows) => {
    if (writing && !restoring) then(() => kept.add(rows));
  });
  controller.on("phase", () => {
    if (controller.phase === "running" || !writing) return;
    writing = false;
    const complete = controller.run?.status === "complete";
    then(() => kept.end(complete));
  });

  notice.on("clear", async () => {
    await kept.clear();
    notice.show("Nothing is kept in this browser any more.", false);
  });
}
