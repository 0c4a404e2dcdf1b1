// @ts-check
/**
 * From a run's wishes to the bytes it gets: as many tensors are read at a time as the engine has room for, so that a network never waits for the
 * processor, nor the processor for the network.
 * @import { Source } from "./types.js"
 */
import { bytes } from "./bytes.js";

/** While all that the engine has room for is in flight and nothing is finished, the run is looked at so often. */
const LOOK_MS = 250;

/**
 * A stretch of a file; `model` says of which list of files, of the first if nothing.
 * @typedef {{model?: number, file: string, begin: number, end: number}} Part
 * @typedef {{kind: "read", task: number, name: string, parts: Part[]} | {kind: "wait"} | {kind: "done"}} Next
 * @typedef {{bytes: Uint8Array} | {error: unknown}} Read
 */

/** Wakes who waits for a task: a run, and a sample beside it. @type {Set<() => void>} */
const resting = new Set();

/** A thread of the engine has finished a task. */
export function ring() {
  for (const wake of resting) wake();
}

/** Until a task is finished, or for a while. @returns {Promise<void>} */
function rest() {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      resting.delete(wake);
      resolve();
    };
    const timer = setTimeout(wake, LOOK_MS);
    resting.add(wake);
  });
}

/**
 * To the end of a run. Tensors are computed in the engine's order, whichever arrives first. A file that can't be read costs its row, not the run; a
 * network that is gone ends the run, and so do requests that are still under way.
 * @param {{next(): Next, submit(task: number, bytes: Uint8Array): void, fail(task: number, message: string): void}} run
 * @param {Source[][]} sources the files of its models
 * @param {() => void} step takes what is finished, which makes room for more
 */
export async function compute(run, sources, step) {
  const end = new AbortController();
  /** @type {{task: number, read: Promise<Read>}[]} */
  const reading = [];
  try {
    for (;;) {
      let next = run.next();
      if (next.kind === "wait") {
        step();
        next = run.next();
      }
      if (next.kind === "done") return;
      if (next.kind === "read") {
        const read = joined(next.parts, sources, end.signal).then((bytes) => ({ bytes }), (error) => ({ error }));
        reading.push({ task: next.task, read });
        continue;
      }
      // What is finished is taken while the next bytes are still on their way.
      const read = await (reading.length > 0 ? Promise.race([reading[0].read, rest()]) : rest());
      if (read) give(run, reading.shift()?.task ?? 0, read);
    }
  } finally {
    end.abort();
  }
}

/** @param {Parameters<typeof compute>[0]} run @param {number} task @param {Read} read */
function give(run, task, read) {
  if ("bytes" in read) return run.submit(task, read.bytes);
  const { error } = read;
  if (error instanceof Error && error.name === "network") throw error; // the next one would fare no better
  run.fail(task, error instanceof Error || error instanceof DOMException ? error.message : String(error));
}

/**
 * The bytes of all parts, one after another.
 * @param {Part[]} parts
 * @param {Source[][]} sources
 * @param {AbortSignal} [unwanted] nobody waits for them any more
 */
export async function joined(parts, sources, unwanted) {
  const pieces = await Promise.all(
    parts.map(({ model = 0, file: name, begin, end }) => {
      const file = sources[model].find((each) => each.name === name);
      if (!file) throw new Error("its file is not among the opened ones");
      return bytes(file, begin, end, unwanted);
    }),
  );
  if (pieces.length === 1) return pieces[0];
  const all = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
