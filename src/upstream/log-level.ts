/**
 * Log levels (RFC 5424 by name, MCP server/utilities/logging) and what a legacy server was told of them: one level per
 * connection, so the most verbose that anybody wanted, and each request takes only what it asked for.
 */
import { isJsonObject } from '../lib/json.ts';
import { LOG_LEVELS } from '../protocol/meta.ts';
import type { UpstreamIdentity } from './connection.ts';
import type { Wire } from './wire.ts';

const SET_LEVEL_TIMEOUT_MS = 5_000;

/** Position of a level, -1 for what is none: below everything that can be asked for. */
const severity = (level: string): number => LOG_LEVELS.indexOf(level);

export interface LegacyLevel {
  /** Resolves when the server was told, if it had to be. Best effort: a refusal only costs the lines. */
  want(level: string): Promise<void>;
  /** The server forgot. */
  reset(): void;
}

export function legacyLevel(wire: Wire, { capabilities }: UpstreamIdentity, life: AbortSignal): LegacyLevel {
  let told = LOG_LEVELS.length;
  let telling: Promise<void> = Promise.resolve();
  return {
    want: (level) => {
      const wanted = severity(level);
      if (wanted < 0 || !isJsonObject(capabilities['logging'])) return Promise.resolve();
      if (wanted < told) {
        told = wanted;
        const message = { method: 'logging/setLevel', params: { level } };
        telling = telling.then(() =>
          wire.exchange(message, life, SET_LEVEL_TIMEOUT_MS).then(
            () => undefined,
            () => undefined,
          ),
        );
      }
      return telling;
    },
    reset: () => void (told = LOG_LEVELS.length),
  };
}
