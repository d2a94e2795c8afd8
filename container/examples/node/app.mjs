// An application that submits jobs and learns of their outcomes, without any SDK:
//
//   node app.mjs submit REFERENCE      submits a job and waits for its end
//   node app.mjs pull ROUTE FOLDER     pulls the results of a route
//   node app.mjs webhook PORT FOLDER   gets the results that the handler `webhook` sends
//
// The effect of each result is a file in FOLDER, which is made once for each idempotency key.
//
//   LISTENER_URL         http.listen of the daemon as a URL, e.g. http://127.0.0.1:8471
//   LISTENER_TOKEN_FILE  a file with one token
//   WEBHOOK_SECRET_FILE  the secret_file of the handler `webhook`

import { createHash, randomUUID } from "node:crypto";
import { link, readFile, unlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";

import { isGenuine, Listener } from "./listener.mjs";

const listener = new Listener({
  url: process.env.LISTENER_URL ?? "http://127.0.0.1:8471",
  tokenFile: process.env.LISTENER_TOKEN_FILE,
});

async function submit(reference) {
  await listener.submit({
    function: "Cover",
    input: "oss://media.oss-cn-shanghai.aliyuncs.com/in/talk.mp4",
    output: "oss://media.oss-cn-shanghai.aliyuncs.com/out/{source}-{sequenceId}.jpg",
    reference,
  });
  const job = await listener.ended(reference);
  console.log(`${job.job_id} ${job.state}`);
}

async function pull(route, folder) {
  await listener.pull(route, (document) => once(folder, document));
}

async function webhook(port, folder) {
  const secret = await readFile(process.env.WEBHOOK_SECRET_FILE, "utf8");
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    const body = Buffer.concat(chunks).toString("utf8");
    const status = isGenuine({ headers: request.headers, body, secret }) ? await received(folder, body) : 401;
    response.writeHead(status).end();
  });
  server.listen(Number(port), "127.0.0.1");
}

async function received(folder, body) {
  try {
    await once(folder, JSON.parse(body));
    return 204;
  } catch (error) {
    console.error(error);
    return 500; // it is retried
  }
}

/** Make the file complete or not at all, and never twice: a link fails if its name exists. */
async function once(folder, { key, job_id, state, outputs }) {
  const name = createHash("sha256").update(key).digest("hex");
  const draft = join(folder, `.${randomUUID()}`);
  await writeFile(draft, JSON.stringify({ key, job_id, state, outputs }));
  try {
    await link(draft, join(folder, `${name}.json`));
  } catch (error) {
    if (error.code !== "EEXIST") throw error; // else it has happened before
  } finally {
    await unlink(draft);
  }
}

const commands = { submit, pull, webhook };
const [command, ...values] = process.argv.slice(2);
if (!Object.hasOwn(commands, command) || values.length !== commands[command].length) {
  console.error("usage: node app.mjs submit REFERENCE | pull ROUTE FOLDER | webhook PORT FOLDER");
  process.exit(2);
}
await commands[command](...values);
