/** A text or file that does not have the form its specification demands. What is well formed and untrue is a value, not this. */
export type FormatErrorCode =
  | 'malformed_note'
  | 'malformed_vkey'
  | 'malformed_checkpoint'
  | 'malformed_proof'
  | 'malformed_tile'
  | 'malformed_bundle';

export class FormatError extends Error {
  readonly code: FormatErrorCode;

  constructor(code: FormatErrorCode, message: string) {
    super(message);
    this.name = 'FormatError';
    this.code = code;
  }
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** RFC 4648 section 4, padded, with one spelling per value: what decodes but encodes differently is refused. */
export function strictBase64(text: string): Buffer | null {
  if (!BASE64.test(text)) return null;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : null;
}

/** ASCII decimal without leading zeros, up to 2^53-1. */
export function strictDecimal(text: string): number | null {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}
