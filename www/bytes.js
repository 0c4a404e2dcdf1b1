// @ts-check
/**
 * Bytes of a file, wherever it is: given by the user, or on a server that answers range requests.
 * @import { Source, Remote } from "./types.js"
 */
import { duration } from "./ui/numbers.js";

/** The first pause before a request is made again; each is twice the one before. */
const PAUSE_MS = 500;
/** How often a request is made before it is given up: in a run, with the pauses some 15 seconds; at first, when it may be refused for good. */
const TRIES = 6;
const FIRST_TRIES = 2;
/** A server that asks for a longer pause than this isn't waited for. */
const MOST_PAUSE_MS = 30_000;
/** A server that sends nothing for so long has forgotten us. */
const SILENCE_MS = 30_000;
/** With a remedy for what passes. */
const RETRY = "Try again when the network is back; what is finished stays.";
/** A file up to this size may come whole from a server that doesn't know ranges. */
const SMALL = 1_000_000;
/** Answers that a later try may better. */
const PASSING = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * @param {Source} file
 * @param {number} begin
 * @param {number} end
 * @param {AbortSignal} [unwanted] ends requests to a server
 * @returns {Promise<Uint8Array>}
 */
export async function bytes(file, begin, end, unwanted) {
  const read = file instanceof Blob ? await slice(file, begin, end) : await range(file, begin, end, unwanted);
  if (read.length !== end - begin) throw named("read", `${file.name} ended early: ${read.length} of ${end - begin} bytes at offset ${begin}.`);
  return read;
}

/** @param {File} file @param {number} begin @param {number} end */
async function slice(file, begin, end) {
  try {
    return new Uint8Array(await file.slice(begin, end).arrayBuffer());
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    const because = ["NotReadableError", "NotFoundError"].includes(name) ? "it was changed, moved or locked since it was chosen" : message;
    throw named("read", `${file.name} can't be read: ${because.replace(/\.$/, "")}.`);
  }
}

/**
 * What a server says of a file, without its content.
 * @param {string} url
 * @param {string} name
 * @returns {Promise<Remote>}
 */
export async function remote(url, name) {
  const { answer, body } = await request(url, name, 0, 8, FIRST_TRIES);
  const whole = answer.status === 200 ? sent(answer) : /\/(\d+)$/.exec(answer.headers.get("Content-Range") ?? "")?.[1];
  const size = Number(whole ?? (body.length < 8 ? body.length : await length(url)));
  if (!Number.isSafeInteger(size)) throw named("read", `${name}: the server doesn't say how large the file is. Download it and drop it here.`);
  return { name, size, url, stamp: stamp(answer) };
}

/** The size, where the server hides the range it sends from pages of other sites. @param {string} url */
async function length(url) {
  const answer = await fetch(url, { method: "HEAD", credentials: "omit", referrerPolicy: "no-referrer" }).catch(() => null);
  return answer?.ok ? (answer.headers.get("Content-Length") ?? NaN) : NaN;
}

/** @param {Remote} file @param {number} begin @param {number} end @param {AbortSignal} [unwanted] */
async function range(file, begin, end, unwanted) {
  if (begin === end) return new Uint8Array();
  const { answer, body } = await request(file.url, file.name, begin, end, TRIES, unwanted);
  const now = stamp(answer);
  if (now !== file.stamp) throw named("network", `${file.name} has changed on its server since it was opened: open it again.`);
  return body;
}

/** What tells one state of a file from another. @param {Response} answer */
function stamp(answer) {
  const size = /\/(\d+)$/.exec(answer.headers.get("Content-Range") ?? "")?.[1] ?? "";
  return [answer.headers.get("ETag") ?? answer.headers.get("Last-Modified") ?? "", size].join(" ");
}

/**
 * One range, tried again when the network fails.
 * @param {string} url
 * @param {string} name
 * @param {number} begin
 * @param {number} end
 * @param {number} tries
 * @param {AbortSignal} [unwanted]
 * @returns {Promise<{answer: Response, body: Uint8Array}>}
 */
async function request(url, name, begin, end, tries, unwanted) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await once(url, name, begin, end, unwanted);
    } catch (error) {
      if (!(error instanceof Passing)) throw error;
      if (error.pause > MOST_PAUSE_MS) throw named("network", `${name} can't be read: ${error.message} and asks to wait ${duration(error.pause / 1000)}. Try again then; what is finished stays.`);
      if (tried === tries) throw named("network", `${name} can't be read: ${error.message}. ${error.remedy}`);
      await sleep(Math.max(PAUSE_MS * 2 ** (tried - 1), error.pause));
    }
  }
}

/** What may be better the next time. */
class Passing extends Error {
  /** @param {string} message @param {string} remedy @param {number} [pause] milliseconds that the server asks for */
  constructor(message, remedy, pause = 0) {
    super(message);
    this.remedy = remedy;
    this.pause = pause;
  }
}

/** @param {string} url @param {string} name @param {number} begin @param {number} end @param {AbortSignal} [unwanted] */
async function once(url, name, begin, end, unwanted) {
  unwanted?.throwIfAborted();
  const silence = new AbortController();
  const stop = () => silence.abort();
  unwanted?.addEventListener("abort", stop);
  let timer = setTimeout(() => silence.abort(), SILENCE_MS);
  try {
    const answer = await fetch(url, { headers: { Range: `bytes=${begin}-${end - 1}` }, signal: silence.signal, credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store" });
    refuse(answer, name, begin, end);
    if (answer.status === 200) return { answer, body: new Uint8Array(await answer.arrayBuffer()).subarray(begin, end) };
    const reader = /** @type {ReadableStream<Uint8Array>} */ (answer.body).getReader();
    const body = new Uint8Array(end - begin);
    let at = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENCE_MS);
      if (at + value.length > body.length) throw named("read", `${name}: the server sent more than it was asked for. Download the file and drop it here.`);
      body.set(value, at);
      at += value.length;
    }
    const whole = Number(/\/(\d+)$/.exec(answer.headers.get("Content-Range") ?? "")?.[1] ?? NaN);
    if (at < body.length && !(whole < end)) throw new Passing(`the connection broke after ${at} of ${body.length} bytes`, RETRY);
    return { answer, body: body.subarray(0, at) };
  } catch (error) {
    unwanted?.throwIfAborted();
    if (error instanceof Passing || ["read", "network"].includes(/** @type {Error} */ (error).name)) throw error;
    if (silence.signal.aborted) throw new Passing("its server has stopped answering", RETRY);
    throw new Passing("its server can't be reached, or doesn't allow pages of other sites to read it (CORS)", "Check the network, or download the file and drop it here.");
  } finally {
    clearTimeout(timer);
    unwanted?.removeEventListener("abort", stop);
    silence.abort(); // or a refused answer goes on arriving
  }
}

/** How many bytes an answer has; not a number when it doesn't say. @param {Response} answer */
function sent(answer) {
  return Number(answer.headers.get("Content-Length") ?? NaN);
}

/** How long its server asks to wait, in milliseconds: it says how many seconds, or until when. @param {Response} answer */
function pauseOf(answer) {
  const after = answer.headers.get("Retry-After") ?? "";
  return /^\d+$/.test(after) ? 1000 * Number(after) : Math.max(0, Date.parse(after) - Date.now()) || 0;
}

/** @param {Response} answer @param {string} name @param {number} begin @param {number} end */
function refuse(answer, name, begin, end) {
  const { status } = answer;
  // a server may send a file whole: where its whole was asked for, or because it is small
  if (status === 206 || (status === 200 && sent(answer) <= (begin === 0 ? Math.max(end, SMALL) : SMALL))) return;
  if (PASSING.has(status)) throw new Passing(`its server answers ${status}`, RETRY, pauseOf(answer));
  if (status === 401 || status === 403) throw named("read", `${name} can't be read: its server asks for an account (${status}). Download the file and drop it here.`);
  if (status === 404 || status === 410) throw named("read", `${name} can't be read: there is no such file on its server (${status}).`);
  if (status === 416) throw named("network", begin === 0 ? `${name} is empty.` : `${name} ends before byte ${begin}: it has changed on its server since it was opened. Open it again.`);
  if (status === 200) throw named("read", `${name} can't be read in parts: its server doesn't support range requests. Download the file and drop it here.`);
  throw named("read", `${name} can't be read: its server answers ${status}.`);
}

/** An error with a stable code. @param {string} name @param {string} message */
export function named(name, message) {
  const error = new Error(message);
  error.name = name;
  return error;
}

/** @param {number} milliseconds */
export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
