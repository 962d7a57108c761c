/**
 * Faults are exceptions with a code and a cause; decisions are values (a denial is never thrown).
 * `code` is what callers switch on; `message` is for the operator and must never reach an untrusted caller.
 */
export class Fault<Code extends string = string> extends Error {
  readonly code: Code;

  constructor(code: Code, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'Fault';
    this.code = code;
  }
}

export function isFault(error: unknown, code?: string): error is Fault {
  return error instanceof Fault && (code === undefined || error.code === code);
}
