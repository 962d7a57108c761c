/**
 * What a server says on stderr, made fit for a log: bounded per line and per minute, control characters and our own
 * secrets taken out. Reading goes on, at the server's pace, so that a chatty server does not block.
 */
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Clock } from '../lib/clock.ts';
import { type Pace, inTurns } from './pace.ts';

const MAX_LINE = 2_000;
/** So that a secret across the place where a line is cut is found whole. */
const LONGEST_READ = 2 * MAX_LINE;
/** Shorter parts of a secret say nothing, and are found by accident. */
const SHORTEST_LINE = 8;
const MINUTE_MS = 60_000;
/** Times the bytes that are kept. */
const FLOOD = 32;

export interface StderrOptions {
  readonly clock: Clock;
  readonly pace: Pace;
  readonly bytesPerMinute: number;
  /** Values that must not reach a log. */
  readonly secrets: readonly string[];
  readonly onLine: (line: string) => void;
  /** It says so much more than is kept that reading it costs us: called once in a minute at most. */
  readonly onFlood?: () => void;
}

export interface Stderr {
  /** For the message of a fault. */
  lastLine(): string | null;
  /** It is closed, and all of it was read. */
  readonly drained: Promise<void>;
}

export function captureStderr(stream: Readable, options: StderrOptions): Stderr {
  // A key in PEM comes line by line.
  const secrets = options.secrets.flatMap((secret) => [
    secret,
    ...secret.split(/[\r\n]+/).filter(({ length }) => length >= SHORTEST_LINE),
  ]);
  const decoder = new StringDecoder('utf8');
  let text = '';
  let last: string | null = null;
  let windowAt = options.clock.now();
  let left = options.bytesPerMinute;

  const emit = (line: string): void => {
    const clean = cleaned(line.slice(0, LONGEST_READ), secrets).slice(0, MAX_LINE);
    if (clean === '') return;
    last = clean;
    options.onLine(clean);
  };
  const turns = inTurns(options.pace, stream, (chunk) => {
    const now = options.clock.now();
    if (now - windowAt >= MINUTE_MS) {
      windowAt = now;
      left = options.bytesPerMinute;
    }
    const before = left;
    left -= chunk.length;
    const flood = (1 - FLOOD) * options.bytesPerMinute;
    if (left < flood && before >= flood) options.onFlood?.();
    if (before <= 0) return;
    text += decoder.write(chunk);
    const lines = text.split('\n');
    // A line without end is cut, not kept.
    text = (lines.pop() ?? '').slice(0, LONGEST_READ);
    for (const line of lines) emit(line);
    if (left <= 0) {
      text = '';
      options.onLine(`(more than ${options.bytesPerMinute} bytes in one minute: the rest is dropped)`);
    }
  });
  stream.on('error', () => {});
  stream.on('data', turns.push);
  const drained = new Promise<void>((resolve) => {
    const finish = (): void => {
      emit(text + decoder.end());
      resolve();
    };
    stream.once('close', () => turns.end(finish));
  });
  return { lastLine: () => last, drained };
}

/** ATTACKER-CONTROLLED: escape sequences in a log can rewrite what an operator's terminal shows. */
function cleaned(line: string, secrets: readonly string[]): string {
  let text = line;
  for (const secret of secrets) if (secret !== '') text = text.replaceAll(secret, '[secret]');
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ').trim();
}
