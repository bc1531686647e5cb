// How a call that the server refused looks to the story, whichever client made it.

// The names of the codes, by number; they are the same in every gRPC library.
const CODES = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

export const DEADLINE_EXCEEDED = CODES.indexOf("DEADLINE_EXCEEDED");

export class Refusal extends Error {
  /** `details` are [full type name, JSON] pairs; `requestId` is what the answer's headers said. */
  constructor(code, message, details, requestId) {
    super(`${CODES[code]}: ${message}`);
    this.code = CODES[code];
    this.details = Object.fromEntries(details.map(([type, json]) => [type.replace("google.rpc.", ""), json]));
    this.requestId = requestId;
  }

  get reason() {
    return this.details.ErrorInfo?.reason;
  }
}
