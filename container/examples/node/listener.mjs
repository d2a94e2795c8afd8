// A client of the API of mns-listener: plain HTTP, no package. Node.js 18 or later.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";

const RETRY_SECONDS = 1;
const WAIT_SECONDS = 30;
const OLDEST_WEBHOOK_SECONDS = 300;

/** An answer that repeating the request does not change. */
export class Refused extends Error {
  constructor(problem) {
    super(`${problem.status} ${problem.title}: ${problem.detail ?? ""}`);
    this.problem = problem;
  }
}

export class Listener {
  /** `url` is http.listen of the daemon, `tokenFile` holds one token of its http.token_file. */
  constructor({ url, tokenFile }) {
    this.url = url;
    this.tokenFile = tokenFile;
  }

  /** Submit a job; with the same `reference`, repeating it submits nothing. */
  async submit(job) {
    return this.#call("POST", "/v1/jobs", job);
  }

  /** The job, once it has ended, however long that takes. */
  async ended(name) {
    for (;;) {
      const job = await this.#call("GET", `/v1/jobs/${encodeURIComponent(name)}?wait=${WAIT_SECONDS}`);
      if (job.finished_at !== null) return job;
    }
  }

  /**
   * Pull the deliveries of a route until the process ends. `handle` gets one document; if it returns, the delivery is
   * done, and if it throws, it is retried. It may get the same document again, with the same `key`: its effect must
   * happen once for each key.
   */
  async pull(route, handle, { client = "node", limit = 8 } = {}) {
    const claim = `/v1/routes/${encodeURIComponent(route)}/claim?wait=${WAIT_SECONDS}&limit=${limit}&client=${client}`;
    for (;;) {
      const { deliveries } = await this.#call("POST", claim);
      await Promise.all(deliveries.map((document) => this.#handle(document, handle)));
    }
  }

  async #handle(document, handle) {
    const extending = setInterval(() => this.#extend(document), leaseMilliseconds(document) / 3);
    let outcome = { action: "done" };
    try {
      await handle(document);
    } catch (error) {
      outcome = { action: error.permanent ? "reject" : "retry", reason: String(error).slice(0, 500) };
    } finally {
      clearInterval(extending);
    }
    await this.#settle(document, outcome);
  }

  /** Not repeated: the next one comes soon. */
  async #extend({ delivery, attempt }) {
    await this.#fetch("POST", `/v1/deliveries/${delivery}`, { attempt, action: "extend" }).catch(() => null);
  }

  /** Repeated until it is answered: that is safe. Another attempt has the delivery if the lease was lost. */
  async #settle({ delivery, attempt }, outcome) {
    try {
      await this.#call("POST", `/v1/deliveries/${delivery}`, { attempt, ...outcome });
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      console.error(`delivery ${delivery}: ${error.message}`);
    }
  }

  /** Repeats the request while the daemon does not run or is not available. */
  async #call(method, path, body) {
    for (;;) {
      const response = await this.#fetch(method, path, body).catch(() => null);
      if (response?.ok) return response.json().catch(() => this.#call(method, path, body));
      if (response && response.status !== 503) throw new Refused(await response.json());
      await pause(1000 * (Number(response?.headers.get("retry-after")) || RETRY_SECONDS));
    }
  }

  async #fetch(method, path, body) {
    const headers = { "content-type": "application/json" };
    if (this.tokenFile) {
      headers.authorization = `Bearer ${(await readFile(this.tokenFile, "utf8")).trim()}`;
    }
    return fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
  }
}

/** Whether a webhook is from mns-listener: `secret` as in its secret_file, `body` exactly as received. */
export function isGenuine({ headers, body, secret }) {
  const age = Date.now() / 1000 - Number(headers["webhook-timestamp"]);
  if (!(Math.abs(age) <= OLDEST_WEBHOOK_SECONDS)) return false;
  const key = Buffer.from(secret.trim().replace(/^whsec_/, ""), "base64");
  const signed = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.${body}`;
  const expected = Buffer.from(`v1,${createHmac("sha256", key).update(signed).digest("base64")}`);
  return String(headers["webhook-signature"])
    .split(" ")
    .map((each) => Buffer.from(each))
    .some((given) => given.length === expected.length && timingSafeEqual(given, expected));
}

function leaseMilliseconds({ lease_until: until }) {
  return Math.max(1000, Date.parse(until) - Date.now());
}
