// A running server for a suite: the real binary on a free port, with an empty data folder.

import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, open, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
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

/** Starts Envoy with deploy/envoy in front of a server that has all roles at one address, for pages of this origin. */
export async function envoy(address, origin) {
  const folder = await mkdtemp(join(tmpdir(), "errand-envoy-"));
  const [config, admin] = [join(folder, "envoy.yaml"), join(folder, "admin")];
  await writeFile(join(folder, "errand.pb"), execFileSync(process.env.ERRAND_BIN, ["descriptors"]));
  const port = new URL(address).port;
  const text = (await readFile(new URL("../../../deploy/envoy/envoy.yaml", import.meta.url), "utf8"))
    .replace(/port_value: (9901|8000)/g, "port_value: 0")
    .replace(/port_value: (50051|50052|50053|8080)/g, `port_value: ${port}`)
    .replace("proto_descriptor: deploy/envoy/", `proto_descriptor: ${folder}/`)
    .replace(/safe_regex: { regex: 'http:.*' }/, `exact: "${origin}"`);
  ok(text.includes(origin), "the configuration names the pages that may call");
  await writeFile(config, text);
  const flags = ["--config-path", config, "--admin-address-path", admin, "--use-dynamic-base-id", "--log-level", "error"];
  const child = spawn(process.env.ERRAND_ENVOY, flags, { stdio: ["ignore", "inherit", "inherit"] });
  const ended = once(child, "exit");
  for (let tries = 0; tries < 500; tries += 1) {
    await sleep(20);
    if (child.exitCode !== null) break;
    const ask = async (path) => (await fetch(`http://${await readFile(admin, "utf8")}${path}`)).text();
    const healthy = await ask("/stats?filter=health_check.healthy").catch(() => "");
    if ((healthy.match(/healthy: 1/g) ?? []).length < 3 || !(await ask("/ready")).startsWith("LIVE")) continue;
    const [listener] = JSON.parse(await ask("/listeners?format=json")).listener_statuses;
    return {
      address: `http://127.0.0.1:${listener.local_address.socket_address.port_value}`,
      async stop() {
        child.kill("SIGTERM");
        equal((await ended)[0], 0);
        await rm(folder, { recursive: true });
      },
    };
  }
  child.kill("SIGKILL");
  throw new Error("Envoy is not ready");
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
