// Headless Chromium with a profile of its own, for a suite.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const FLAGS = [
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-gpu",
  "--disable-quic",
  "--disable-sync",
  "--no-first-run",
  // Names that exist nowhere, so that origins are not the server's own host.
  "--host-resolver-rules=MAP *.example 127.0.0.1",
];

/** Starts the browser that CHROMIUM names. */
export async function launch() {
  const profile = await mkdtemp(join(tmpdir(), "errand-chromium-"));
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    chromiumSandbox: false,
    args: FLAGS,
  });
  return {
    newPage: () => browser.newPage(),
    /** Ends it and takes its profile away. */
    async close() {
      await browser.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
}
