/**
 * The stdio transport (MCP basic/transports/stdio; PROTOCOL.md A5): one JSON message per line on a process that
 * somebody else started isolated. Ids are ours; a line that is not a message is a violation, and too many end the process.
 * Not done here: starting the process, deciding the era.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';
import { channel, overwhelmed } from './channel.ts';
import { UpstreamFault } from './connection.ts';
import { credentialFinder, repeated } from './credentials.ts';
import { lineSplitter } from './lines.ts';
import { readFromServer } from './messages.ts';
import { captureStderr } from './stderr.ts';
import type { ServerProcess } from './target.ts';
import type { Wire } from './wire.ts';

export interface StdioOptions {
  readonly clock: Clock;
  /** Largest message, and stderr per minute, bytes. */
  readonly outputBytes: number;
  readonly secrets: readonly string[];
  readonly onStderr: (line: string) => void;
  readonly onViolation: (what: string) => void;
}

/** Violations a server may commit within a minute; servers that print a banner are common and harmless. */
const VIOLATIONS_PER_MINUTE = 10;
/** Messages that answer nothing, within ten seconds: a busy server sends a few hundred. */
const NOTIFICATIONS_PER_WINDOW = 20_000;
const WINDOW_MS = 10_000;
/** Bytes we hold for a server that does not read. */
const MAX_UNREAD = 16 * 1024 * 1024;

export function stdioWire(process: ServerProcess, options: StdioOptions): Wire {
  let end: { reason: string } | null = null;
  let violations = 0;
  let violationsSince = options.clock.now();
  let notifications = 0;
  let notificationsSince = violationsSince;

  const lastWords = captureStderr(process.stderr, {
    clock: options.clock,
    bytesPerMinute: options.outputBytes,
    secrets: options.secrets,
    onLine: options.onStderr,
    onFlood: () => expel('upstream_too_large', 'the server floods its standard error', 'output'),
  });

  const repeats = credentialFinder(options.secrets);
  const { exchange, notify, agree, onLoose, take, fail, failAll } = channel({
    send: (message) => void process.stdin.write(`${JSON.stringify(message)}\n`),
    refusal: () =>
      end !== null
        ? new UpstreamFault('upstream_closed', end.reason, { dispatched: 'no' })
        : process.stdin.writableLength > MAX_UNREAD
          ? overwhelmed()
          : null,
  });

  /** Ends the process for what it did. */
  function expel(code: 'upstream_protocol' | 'upstream_too_large', why: string, reason: string): void {
    if (end !== null) return;
    end = { reason: why };
    failAll(new UpstreamFault(code, why, { dispatched: 'unknown' }));
    void process.stop(reason);
  }

  function violation(what: string): void {
    options.onViolation(what);
    const now = options.clock.now();
    if (now - violationsSince >= 60_000) {
      violationsSince = now;
      violations = 0;
    }
    if (++violations > VIOLATIONS_PER_MINUTE)
      expel('upstream_protocol', `the server does not speak MCP on its output: ${what}`, 'protocol');
  }

  /** Every message costs us; one that nobody asked for is free for the server. */
  function flooded(): boolean {
    const now = options.clock.now();
    if (now - notificationsSince >= WINDOW_MS) {
      notificationsSince = now;
      notifications = 0;
    }
    return ++notifications > NOTIFICATIONS_PER_WINDOW;
  }

  function takeLine(line: Buffer): void {
    const bytes = line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
    const read = readFromServer(bytes, options.outputBytes);
    // As over HTTP: what repeats a secret of ours goes to nobody (AN-12).
    if (read.ok && repeats(bytes)) {
      if (read.value.kind === 'reply' && typeof read.value.id === 'number') return fail(read.value.id, repeated());
      return violation('a message repeats a secret of its environment');
    }
    if (read.ok && read.value.kind === 'notification' && flooded())
      return expel('upstream_too_large', 'the server floods its output with notifications', 'output');
    const problem = read.ok ? take(read.value) : read.error;
    if (problem !== null) violation(problem);
  }

  const split = lineSplitter(options.outputBytes, (line) => {
    if (end === null) takeLine(line);
  });
  process.stdout.on('error', () => {});
  process.stdout.on('data', (chunk: Buffer) => {
    if (!split(chunk))
      expel('upstream_too_large', `the server wrote a message of more than ${options.outputBytes} bytes`, 'output');
  });
  const drained = new Promise<void>((resolve) => process.stdout.once('close', () => resolve()));
  // A server that closes its output can never answer again. One that is just leaving gets the time to do so.
  void drained.then(() => sleep(1_000, undefined, { ref: false })).then(() => process.stop('its output is closed'));

  const closed = process.exited.then(async (exit) => {
    // What it wrote before it left still counts.
    await Promise.race([drained, sleep(250, undefined, { ref: false })]);
    const how = exit.reason ?? (exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`);
    const said = exit.reason === undefined ? lastWords() : null;
    end ??= { reason: said === null ? `the process ended (${how})` : `the process ended (${how}): ${said}` };
    failAll(new UpstreamFault('upstream_closed', end.reason, { dispatched: 'unknown' }));
    return end;
  });

  return {
    closed,
    exchange,
    notify,
    agree,
    onLoose,
    hear: null,
    onForgotten: () => {},
    close: async (reason) => {
      end ??= { reason };
      failAll(new UpstreamFault('upstream_closed', reason, { dispatched: 'unknown' }));
      await process.stop(reason);
      await closed;
    },
  };
}
