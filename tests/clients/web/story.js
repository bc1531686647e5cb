// What a person does with Errand in a day, told once and lived by every client, in Node and in a browser.
//
// A client speaks protobuf's JSON: `call(path, fields, options)`, `stream(path, fields, options)` and `has(path)`;
// see connect_web.js and grpc_web.js. Nothing here may need Node or a browser.

import { Refusal } from "./refusal.js";

const AUTH = "errand.auth.v1.AuthService";
const TASK = "errand.task.v1.TaskService";
const CHAT = "errand.chat.v1.ChatService";

export const PASSWORD = "correct horse battery staple";

function same(actual, expected, what) {
  const [seen, wanted] = [actual, expected].map((value) => JSON.stringify(value));
  if (seen !== wanted) throw new Error(`${what}: ${seen} instead of ${wanted}`);
}

function holds(condition, what) {
  if (!condition) throw new Error(what);
}

/** Text that nobody has used before. Browsers have `randomUUID` in pages from https only. */
function unique() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Awaits a call that has to be refused, and answers how. */
async function refused(call, code, reason) {
  const error = await call.then(
    () => new Error(`the call succeeded instead of being refused with ${code} ${reason}`),
    (error) => error,
  );
  if (!(error instanceof Refusal)) throw error;
  same([error.code, error.reason], [code, reason], error.message);
  return error;
}

/** The steps of the day, in order: `{ name, needs, run }`; `needs` names methods that the contract may not have yet. */
export function story(client) {
  const email = `person.${unique()}@example.com`;
  const day = {};
  const steps = [];

  const step = (name, run, needs = []) => steps.push({ name, needs, run });
  const call = (path, fields = {}, options = {}) => client.call(path, fields, { token: day.token, ...options });
  const stream = (path, fields = {}, options = {}) => client.stream(path, fields, { token: day.token, ...options });

  step("signs up", async () => {
    const { user, credentials } = await call(`${AUTH}/SignUp`, { email, password: PASSWORD, displayName: "Zoë 🦊" });
    same([user.email, user.displayName, credentials.expiresIn], [email, "Zoë 🦊", "900s"], "the account");
    day.user = user.id;
  });

  step("can not sign up twice", async () => {
    const again = call(`${AUTH}/SignUp`, { email: email.toUpperCase(), password: PASSWORD });
    await refused(again, "ALREADY_EXISTS", "EMAIL_TAKEN");
  });

  step("is refused without a token", async () => {
    await refused(call(`${TASK}/ListTasks`), "UNAUTHENTICATED", "TOKEN_MISSING");
  });

  step("logs in", async () => {
    const wrong = call(`${AUTH}/LogIn`, { email, password: "wrong horse" });
    await refused(wrong, "UNAUTHENTICATED", "CREDENTIALS_INVALID");
    const { user, credentials } = await call(`${AUTH}/LogIn`, { email, password: PASSWORD });
    same(user.id, day.user, "the account");
    day.token = credentials.accessToken;
    day.refreshToken = credentials.refreshToken;
  });

  step("creates a task, and repeating the call makes no second one", async () => {
    const task = {
      title: "Buy milk",
      priority: "PRIORITY_HIGH",
      dueTime: "2030-01-02T03:04:05.678Z",
      labels: ["home", "köket"],
    };
    const request = { task, requestId: unique() };
    day.milk = await call(`${TASK}/CreateTask`, request);
    for (const [field, value] of Object.entries(task)) same(day.milk[field], value, field);
    same(await call(`${TASK}/CreateTask`, request), day.milk, "the answer to the repeated call");
  });

  step("walks through pages and sees every task once", async () => {
    const made = [day.milk.id];
    for (let number = 1; number <= 6; number += 1) {
      made.push((await call(`${TASK}/CreateTask`, { task: { title: `Task ${number}` } })).id);
    }
    const seen = [];
    const sizes = [];
    let pageToken = "";
    do {
      const page = await call(`${TASK}/ListTasks`, { pageSize: 3, pageToken, orderBy: "create_time desc" });
      seen.push(...page.tasks.map((task) => task.id));
      sizes.push(page.tasks.length);
      pageToken = page.nextPageToken ?? "";
    } while (pageToken);
    same(seen, made.reverse(), "the tasks");
    same(sizes, [3, 3, 1], "the sizes of the pages");
  });

  step("updates what the mask names, and only the version that was read", async () => {
    const { id, etag } = day.milk;
    const task = { id, etag, title: "Buy oat milk", description: "not named" };
    day.oats = await call(`${TASK}/UpdateTask`, { task, updateMask: "title,labels" });
    const { title, description, labels, dueTime } = day.oats;
    same([title, description ?? "", labels ?? [], dueTime], ["Buy oat milk", "", [], day.milk.dueTime], "the task");
    holds(day.oats.etag !== etag, "a changed task has another etag");
  });

  step("is told that a version is stale, with details", async () => {
    const { id, etag } = day.milk;
    const stale = call(`${TASK}/UpdateTask`, { task: { id, etag, title: "Buy soy milk" }, updateMask: "title" });
    const { details, requestId } = await refused(stale, "ABORTED", "ETAG_MISMATCH");
    same(details.ErrorInfo.domain, "errand", "the domain");
    holds(details.RequestInfo.requestId, "the details name the request");
    same(requestId, details.RequestInfo.requestId, "the request id in the headers");
    same((await call(`${TASK}/GetTask`, { taskId: id })).title, "Buy oat milk", "the title");
  });

  step("is told which fields are wrong", async () => {
    const task = { title: "ok", labels: ["a", "a"], description: "nul \0" };
    const { details } = await refused(call(`${TASK}/CreateTask`, { task }), "INVALID_ARGUMENT", "INVALID_FIELDS");
    const fields = details.BadRequest.fieldViolations.map(({ field, reason }) => `${field} ${reason}`);
    same(fields.sort(), ["task.description INVALID_FORMAT", "task.labels[1] DUPLICATE"], "the fields");
  });

  step("completes a task", async () => {
    const { id, etag } = day.oats;
    const done = await call(`${TASK}/CompleteTask`, { taskId: id, etag });
    holds(done.completed && done.completeTime, "a completed task says so and when");
    const { tasks } = await call(`${TASK}/ListTasks`, { completed: true });
    same(
      tasks.map((task) => task.id),
      [id],
      "the completed tasks",
    );
  });

  step("reads an answer that comes in many pieces", async () => {
    // 30 times 1,000 characters of four bytes: more than one read of any transport.
    const description = "🦊".repeat(1000);
    for (let number = 0; number < 30; number += 1) {
      await call(`${TASK}/CreateTask`, { task: { title: `Long ${number}`, description, labels: ["long"] } });
    }
    const { tasks } = await call(`${TASK}/ListTasks`, { label: "long" });
    same(tasks.length, 30, "the number of tasks");
    holds(
      tasks.every((task) => task.description === description),
      "every description is as it was sent",
    );
  });

  step("chats", async () => {
    const first = await call(`${CHAT}/SendMessage`, { content: "add water the plants tomorrow" });
    holds(first.response, "the assistant answers");
    holds(
      first.toolCalls.some(({ name }) => name.startsWith("add_task")),
      "the assistant used a tool",
    );
    const { tasks } = await call(`${TASK}/ListTasks`, { query: "water plants" });
    same(
      tasks.map((task) => task.title.toLowerCase()),
      ["water the plants"],
      "the tasks",
    );
    const { conversationId } = first;
    const second = await call(`${CHAT}/SendMessage`, { conversationId, content: "find plants" });
    same(second.conversationId, conversationId, "the conversation");
    holds(second.response.toLowerCase().includes("water the plants"), `the assistant finds it: ${second.response}`);
    const { messages } = await call(`${CHAT}/ListMessages`, { conversationId });
    same(
      messages.map((message) => message.role),
      ["ROLE_USER", "ROLE_ASSISTANT", "ROLE_USER", "ROLE_ASSISTANT"],
      "the roles",
    );
  });

  step(
    "watches a chat's answer as it comes",
    async () => {
      const events = [];
      for await (const event of stream(`${CHAT}/StreamMessage`, { content: "add call the bank" })) events.push(event);
      holds(events.length > 1, `the answer comes in several events: ${JSON.stringify(events)}`);
      const { tasks } = await call(`${TASK}/ListTasks`, { query: "call bank" });
      same(tasks.length, 1, "the tasks that the turn made");
    },
    [`${CHAT}/StreamMessage`],
  );

  step(
    "undoes what the assistant did in a turn",
    async () => {
      const { turnId } = await call(`${CHAT}/SendMessage`, { content: "add buy stamps" });
      const find = async () => (await call(`${TASK}/ListTasks`, { query: "stamps" })).tasks ?? [];
      const [stamps] = await find();
      const preview = await call(`${TASK}/UndoChanges`, { turnId, validateOnly: true });
      same(
        preview.tasks.map((task) => task.id),
        [stamps.id],
        "what would be undone",
      );
      same((await find()).length, 1, "tasks after the preview");
      const undone = await call(`${TASK}/UndoChanges`, { turnId });
      same(undone.conflicts ?? [], [], "the conflicts");
      same(await find(), [], "tasks after the undo");
      holds((await call(`${TASK}/GetTask`, { taskId: stamps.id })).deleteTime, "the task is deleted");
    },
    [`${TASK}/UndoChanges`],
  );

  step(
    "watches tasks change, and goes on where it stopped",
    async () => {
      const { watchCursor: cursor } = await call(`${TASK}/ListTasks`, { pageSize: 1 });
      const title = "Seen by the watcher";
      // Who sees nothing before a stream has ended needs one that ends by itself.
      const options = client.live ? { timeoutMs: 20_000 } : { headers: { "grpc-timeout": "2S" } };
      const watching = watch(stream(`${TASK}/WatchTasks`, { cursor }, options), client.live ? 2 : Infinity);
      const { id: taskId } = await call(`${TASK}/CreateTask`, { task: { title } });
      await call(`${TASK}/CompleteTask`, { taskId });
      const { changes, refusal } = await watching;
      same(changes.map(summary), [`CREATED ${taskId}`, `COMPLETED ${taskId}`], "the changes");
      same(changes[0].after.title, title, "the title after the change");
      same(refusal?.code, client.live ? undefined : "DEADLINE_EXCEEDED", "how the stream ended");
      // From the first change on: the second, and then nothing until the deadline, which the server keeps.
      const rest = stream(`${TASK}/WatchTasks`, { cursor: changes[0].cursor }, { headers: { "grpc-timeout": "1S" } });
      const again = await watch(rest, Infinity);
      same(again.changes.map(summary), [`COMPLETED ${taskId}`], "the changes after the first");
      same([again.refusal?.code, again.refusal?.reason], ["DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"], "how it ended");
    },
    [`${TASK}/WatchTasks`],
  );

  step("keeps to a deadline", async () => {
    // A deadline that is kept changes nothing.
    same((await call(`${AUTH}/GetMe`, {}, { timeoutMs: 30_000 })).id, day.user, "the account");
    // One that has passed on arrival is told by the server.
    const late = call(`${TASK}/ListTasks`, {}, { headers: { "grpc-timeout": "1n" } });
    const { details } = await refused(late, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED");
    holds(details.RequestInfo.requestId, "the details name the request");
    // A password takes longer than this; the client or the server sees it first.
    const error = await call(`${AUTH}/LogIn`, { email, password: PASSWORD }, { timeoutMs: 5 }).catch((error) => error);
    same(error.code, "DEADLINE_EXCEEDED", "the answer to a call that takes too long");
  });

  step("sees nothing of somebody else's", async () => {
    const password = PASSWORD;
    const { credentials } = await call(`${AUTH}/SignUp`, { email: `other.${email}`, password }, { token: undefined });
    const theirs = { token: credentials.accessToken };
    await refused(call(`${TASK}/GetTask`, { taskId: day.milk.id }, theirs), "NOT_FOUND", "TASK_NOT_FOUND");
    same((await call(`${TASK}/ListTasks`, {}, theirs)).tasks ?? [], [], "the tasks of a new account");
  });

  step("refreshes its token", async () => {
    const { credentials } = await call(
      `${AUTH}/RefreshToken`,
      { refreshToken: day.refreshToken },
      { token: undefined },
    );
    holds(credentials.refreshToken !== day.refreshToken, "a refresh token is used once");
    holds(credentials.accessToken !== day.token, "the access token is a new one");
    day.token = credentials.accessToken;
    day.refreshToken = credentials.refreshToken;
    same((await call(`${AUTH}/GetMe`)).id, day.user, "the account");
  });

  step("logs out", async () => {
    await call(`${AUTH}/LogOut`);
    const late = call(`${AUTH}/RefreshToken`, { refreshToken: day.refreshToken }, { token: undefined });
    await refused(late, "UNAUTHENTICATED", "REFRESH_TOKEN_INVALID");
  });

  return steps.map(({ needs, ...rest }) => ({ ...rest, missing: needs.filter((path) => !client.has(path)) }));
}

/** Reads the changes of a watch until there are as many or it is refused. */
async function watch(events, enough) {
  const changes = [];
  try {
    for await (const { change } of events) {
      if (change) changes.push(change);
      if (changes.length >= enough) break;
    }
    return { changes };
  } catch (refusal) {
    if (!(refusal instanceof Refusal)) throw refusal;
    return { changes, refusal };
  }
}

function summary({ kind, taskId }) {
  return `${kind.replace("CHANGE_KIND_", "")} ${taskId}`;
}
