// As much of a browser's XMLHttpRequest as `grpc-web` asks for, over fetch: Node has none.

export class XMLHttpRequest {
  readyState = 0;
  status = 0;
  statusText = "";
  response = "";
  responseText = "";
  responseType = "";
  onreadystatechange = null;
  #method;
  #url;
  #sent = new Headers();
  #received = new Headers();
  #aborted = new AbortController();

  open(method, url) {
    this.#method = method;
    this.#url = url;
    this.#become(1);
  }

  setRequestHeader(name, value) {
    this.#sent.append(name, value);
  }

  getResponseHeader(name) {
    return this.#received.get(name);
  }

  getAllResponseHeaders() {
    return Array.from(this.#received, ([name, value]) => `${name}: ${value}\r\n`).join("");
  }

  send(body) {
    this.#exchange(body).catch(() => {
      // What a browser shows of a failure is this much.
      if (this.#aborted.signal.aborted) return;
      this.status = 0;
      this.#become(4);
    });
  }

  abort() {
    this.#aborted.abort();
  }

  async #exchange(body) {
    const request = { method: this.#method, headers: this.#sent, body, signal: this.#aborted.signal };
    const answer = await fetch(this.#url, request);
    this.status = answer.status;
    this.statusText = answer.statusText;
    this.#received = answer.headers;
    this.#become(2);
    if (this.responseType === "arraybuffer") {
      this.response = null;
      const whole = await answer.arrayBuffer();
      this.response = whole;
    } else {
      for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
        this.responseText += text;
        this.response = this.responseText;
        this.#become(3);
      }
    }
    this.#become(4);
  }

  #become(state) {
    this.readyState = state;
    this.onreadystatechange?.();
  }
}
