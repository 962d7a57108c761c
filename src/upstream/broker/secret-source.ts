/**
 * Where values of secrets come from: variables and files, the sealed store, a vault. Implementations pass `test/contracts/secret-source.ts`.
 *
 * Promises of every implementation
 * - `read` gives the value as it is now, or a Fault; never an old value after a new one was given, never an empty one.
 * - `version` changes when the value changes and says nothing about it.
 * - No message holds a value, or what a place answered; it names the reference (NH-04, AN-12).
 * Not done here: whether anybody may use it (`broker.ts`).
 */
import { createHmac, randomBytes } from 'node:crypto';
import { Fault } from '../../lib/fault.ts';

export interface SecretValue {
  readonly value: string;
  readonly version: string;
  /** ms since the epoch, as far as the place itself says so. */
  readonly expiresAt: number | null;
}

export interface SecretSource {
  /** @throws SecretFault */
  read(name: string): Promise<SecretValue>;
}

export type SecretFaultCode =
  | 'secret_reference' // not a name that this source reads, or one that lies outside of what it may read
  | 'secret_missing' // nothing there
  | 'secret_refused' // the place, or our own rules, do not let us have it
  | 'secret_unavailable'; // the place does not answer, or is sealed; it may later

export type SecretFault = Fault<SecretFaultCode>;

export const secretFault = (code: SecretFaultCode, message: string, cause?: unknown): SecretFault =>
  new Fault(code, message, cause === undefined ? {} : { cause });

export const MAX_SECRET_BYTES = 64 * 1024;

/** Of this process alone: a hash without a key would let whoever reads a log try out short values. */
const VERSION_KEY = randomBytes(32);

/** For places that keep no versions. Equal values have equal versions within one process. */
export const versionOf = (value: string): string =>
  createHmac('sha256', VERSION_KEY).update(value).digest('hex').slice(0, 16);
