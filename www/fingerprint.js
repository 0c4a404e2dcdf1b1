// @ts-check
/** What tells the files of a model from others, without reading them whole. @import { Source } from "./types.js" */
import { bytes } from "./bytes.js";

/** So many pieces of a file are looked at, from its first byte to its last. */
const PIECES = 32;
const PIECE = 4096;

/**
 * A local file is known by its name, size, date and a sample of its content; one on a server by what the server says of it.
 * @param {Source[]} files
 * @returns {Promise<string | null>} null where the browser can't compute it: not in a secure context
 */
export async function fingerprint(files) {
  if (!crypto.subtle) return null;
  const each = [];
  for (const file of files) {
    each.push(file instanceof Blob ? [file.name, file.size, file.lastModified, await sample(file)] : [file.url, file.size, file.stamp]);
  }
  return hash(new TextEncoder().encode(JSON.stringify(each)));
}

/** @param {File} file */
async function sample(file) {
  const span = Math.max(0, file.size - PIECE);
  const hashes = [];
  for (let i = 0; i < PIECES; i += 1) {
    const begin = Math.floor((span * i) / (PIECES - 1));
    hashes.push(await hash(await bytes(file, begin, Math.min(file.size, begin + PIECE))));
  }
  return hashes.join();
}

/** @param {Uint8Array} data */
async function hash(data) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {BufferSource} */ (data)));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
