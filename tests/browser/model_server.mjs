// A server of model files on another origin, which behaves as badly as a test asks.
import { createServer } from "node:http";

/** How a server behaves that does all it should. @param {Record<string, Buffer>} files by path, without the slash */
const good = (files) => ({
  files,
  /** Whether parts of files can be asked for, whether pages of other sites may ask, and see which range they got. */
  ranges: true,
  cors: true,
  exposed: true,
  etag: '"one"',
  /** Status for every answer in place of the file. @type {number | null} */
  status: null,
  /** What becomes of the nth request, of a range from `begin` on: "drop" breaks the connection in the middle. @type {(n: number, begin: number) => "drop" | number | null} */
  fate: () => null,
  /** What the request of a range waits for before it is answered. @type {(begin: number, end: number) => Promise<void> | null} */
  pause: () => null,
  /** Ranges that were asked for. @type {{begin: number, end: number}[]} */
  wanted: [],
  /** Ranges that were sent. @type {{path: string, begin: number, end: number}[]} */
  sent: [],
  asked: 0,
});

export async function serveModels() {
  const site = {
    ...good({}),
    url: "",
    /** Forgets what it was told. @param {Record<string, Buffer>} files */
    behave: (files) => void Object.assign(site, good(files)),
    close: () => new Promise((resolve) => server.close(resolve).closeAllConnections()),
  };
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname).slice(1);
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (range) {
      const [begin, end] = [Number(range[1]), Number(range[2]) + 1];
      site.wanted.push({ begin, end });
      await site.pause(begin, end);
    }
    const headers = { ...(site.cors ? { "Access-Control-Allow-Origin": "*" } : {}), ...(site.cors && site.exposed ? { "Access-Control-Expose-Headers": "ETag, Content-Range" } : {}), ETag: site.etag };
    const file = site.files[path];
    const fate = request.method === "HEAD" ? null : site.fate(site.asked++, Number(range?.[1] ?? 0));
    const status = site.status ?? (typeof fate === "number" ? fate : file ? null : 404);
    if (status) return response.writeHead(status, headers).end();
    if (request.method === "HEAD" || !range || !site.ranges) {
      response.writeHead(200, { ...headers, "Content-Length": file.length });
      return request.method === "HEAD" ? response.end() : response.end(file);
    }
    const [begin, end] = [Number(range[1]), Math.min(Number(range[2]) + 1, file.length)];
    if (begin >= file.length) return response.writeHead(416, { ...headers, "Content-Range": `bytes */${file.length}` }).end();
    response.writeHead(206, { ...headers, "Content-Length": end - begin, "Content-Range": `bytes ${begin}-${end - 1}/${file.length}` });
    if (fate === "drop") return response.write(file.subarray(begin, begin + ((end - begin) >> 1)), () => response.destroy());
    site.sent.push({ path, begin, end });
    response.end(file.subarray(begin, end));
  });
  // A connection is never closed at the moment at which the browser uses it again.
  Object.assign(server, { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  site.url = `http://127.0.0.1:${server.address().port}/`;
  return site;
}
