// Tells a story to the test runner: a test for each step.

/** Runs the steps in order. The first that fails is the last that is tried; those after it are skipped and say so. */
export async function tell(test, steps) {
  let failed;
  for (const { name, missing, run } of steps) {
    const skip =
      (failed && `not tried after "${failed}"`) ||
      (missing.length > 0 && `the contract has no ${missing.join(", ")} yet`);
    await test.test(name, { skip, timeout: 60_000 }, async () => {
      failed = name;
      await run();
      failed = undefined;
    });
  }
}
