// A running server for a suite: the real binary on a free port, with an empty data folder.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { equal, ok } from "node:assert/strict";
import { PASSWORD } from "./story.js";

/** The descriptor set of the contracts, which `run` builds. */
export function contracts() {
  return readFile(new URL("../../../target/clients/contracts.binpb", import.meta.url));
}

/** Starts the binary that ERRAND_BIN names; `settings` are further arguments of `serve`. */
export async function start(...settings) {
  const folder = await mkdtemp(join(tmpdir(), "errand-clients-"));
  const log = await open(join(folder, "log"), "a+");
  // What is meant for the tests is no setting of the server.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("ERRAND_")));
  const flags = ["serve", "--listen", "127.0.0.1:0", "--data-dir", join(folder, "data"), ...settings];
  const child = spawn(process.env.ERRAND_BIN, flags, { env, stdio: ["ignore", "pipe", log.fd] });
  const ended = once(child, "exit");
  const written = async () => await readFile(join(folder, "log"), "utf8");
  const address = await listening(child);
  if (!address) throw new Error(`the server did not say where it listens:\n${await written()}`);

  return {
    address,
    /** Stops it and looks over what it left. */
    async stop() {
      child.kill("SIGTERM");
      const killer = setTimeout(() => child.kill("SIGKILL"), 20_000);
      const [code] = await ended;
      clearTimeout(killer);
      await log.close();
      const text = await written();
      await rm(folder, { recursive: true });
      equal(code, 0, text);
      ok(!text.includes("panicked"), text);
      ok(!text.includes(PASSWORD), "a password was logged");
    },
  };
}

/** Reads what the server says at its start until it names its address. */
async function listening(child) {
  for await (const line of createInterface({ input: child.stdout })) {
    const [address] = line.match(/http:\/\/[^/\s]+/) ?? [];
    if (address && line.includes("listening on")) {
      child.stdout.resume();
      return address;
    }
  }
  return undefined;
}
