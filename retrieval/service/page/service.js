// Requests to the service: adds the token, tries again when the service is busy, turns errors into one line.

import { say } from "./status.js";
import { newToken, token } from "./token.js";

let store = null; // the name of the store that is asked; null where the service has one only

/** Ask this store from now on. */
export function askStore(name) {
  store = name;
}

/** A path with the name of the store, where the service has several. */
export const inStore = (path) => (store === null ? path : `${path}${path.includes("?") ? "&" : "?"}store=${encodeURIComponent(store)}`);

const TRIES = 3;
const LONGEST_WAIT = 20; // seconds

/** An error whose message is shown to the user. */
export class Problem extends Error {
  name = "Problem";
}

/** The response to a request; throws a Problem for an error status. `json` becomes the body; paths are relative. */
export async function ask(path, { json, signal, quiet = false } = {}) {
  for (let tried = 1; ; ) {
    const sent = token();
    const response = await send(inStore(path), json, sent, signal);
    if (response.ok) return response;
    if (response.status === 401) {
      await newToken(sent);
      continue;
    }
    const busy = response.status === 429 || response.status === 503;
    if (!busy || tried === TRIES) throw new Problem(await errorLine(response));
    const seconds = retryAfter(response);
    if (!quiet) say(`The service is busy; trying again in ${seconds} s.`);
    await pause(seconds, signal);
    tried += 1;
  }
}

/** The response's JSON. */
export async function askJson(path, options) {
  const response = await ask(path, options);
  try {
    return await response.json();
  } catch (error) {
    throw readError(error);
  }
}

/** An async iterator over a response's lines of JSON, as they arrive. */
export async function* jsonLines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      const lines = (rest + (done ? "\n" : value)).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.trim()) yield JSON.parse(line);
      if (done) return;
    }
  } catch (error) {
    throw readError(error);
  } finally {
    await reader.cancel().catch(() => {});
  }
}

async function send(path, json, bearer, signal) {
  const headers = {};
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, {
      method: json === undefined ? "GET" : "POST",
      headers,
      body: json === undefined ? undefined : JSON.stringify(json),
      signal,
    });
  } catch (error) {
    throw readError(error);
  }
}

function readError(error) {
  if (error.name === "AbortError" || error instanceof Problem) return error;
  if (error instanceof SyntaxError) return new Problem("The service's answer broke off or is not JSON; try again.");
  return new Problem("The service cannot be reached; check the connection and try again.");
}

async function errorLine(response) {
  try {
    const { error, detail } = await response.json();
    const said = error ?? detail;
    if (typeof said === "string" && said) return said;
  } catch {
    // Not from the service: a proxy's error page, for example.
  }
  return `The service answered ${response.status} ${response.statusText}`.trim();
}

function retryAfter(response) {
  const said = response.headers.get("Retry-After") ?? "1";
  const seconds = /^\d+$/.test(said) ? Number(said) : (Date.parse(said) - Date.now()) / 1000;
  return Math.min(LONGEST_WAIT, Math.max(1, Math.ceil(seconds) || 1));
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
