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
import { floodGauge } from './flood.ts';
import { lineSplitter } from './lines.ts';
import { readFromServer } from './messages.ts';
import { type Pace, inTurns, serverPace } from './pace.ts';
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
  /** Default: one of real time. */
  readonly pace?: Pace;
}

/** Violations a server may commit within a minute; servers that print a banner are common and harmless. */
const VIOLATIONS_PER_MINUTE = 10;
/** Bytes we hold for a server that does not read. */
const MAX_UNREAD = 16 * 1024 * 1024;
/** How long the last words of a process may take to come, and how often that is granted anew while they are being read. */
const LAST_WORDS_MS = 250;
const LAST_WORDS_GRANTS = 20;

export function stdioWire(process: ServerProcess, options: StdioOptions): Wire {
  let end: { reason: string } | null = null;
  let violations = 0;
  let violationsSince = options.clock.now();
  const pace = options.pace ?? serverPace();
  const flooded = floodGauge(() => options.clock.now());

  const stderr = captureStderr(process.stderr, {
    clock: options.clock,
    pace,
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

  function takeLine(line: Buffer): void {
    const since = pace.now();
    const bytes = line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
    const read = readFromServer(bytes, options.outputBytes);
    // As over HTTP: what repeats a secret of ours goes to nobody (AN-12).
    if (read.ok && repeats(bytes)) {
      if (read.value.kind === 'reply' && typeof read.value.id === 'number') return fail(read.value.id, repeated());
      return violation('a message repeats a secret of its environment');
    }
    if (read.ok && read.value.kind === 'notification' && flooded(bytes.length))
      return expel('upstream_too_large', 'the server floods its output with notifications', 'output');
    const problem = read.ok ? take(read.value) : read.error;
    if (problem !== null) violation(problem);
    else if (read.ok && read.value.kind === 'reply') pace.spare(since);
  }

  const split = lineSplitter(options.outputBytes, (line) => {
    if (end === null) takeLine(line);
  });
  const turns = inTurns(pace, process.stdout, (piece) => {
    if (end === null && !split(piece))
      expel('upstream_too_large', `the server wrote a message of more than ${options.outputBytes} bytes`, 'output');
  });
  process.stdout.on('error', () => {});
  process.stdout.on('data', turns.push);
  const drained = new Promise<void>((resolve) => process.stdout.once('close', () => turns.end(resolve)));
  // A server that closes its output can never answer again. One that is just leaving gets the time to do so.
  void drained.then(() => sleep(1_000, undefined, { ref: false })).then(() => process.stop('its output is closed'));

  const closed = process.exited.then(async (exit) => {
    // What it wrote before it left still counts, also what was not read yet.
    pace.hurry();
    const read = Promise.all([drained, stderr.drained]).then(() => true);
    for (let grants = 0, before = -1; before !== pace.handled() && grants < LAST_WORDS_GRANTS; grants++) {
      before = pace.handled();
      if (await Promise.race([read, sleep(LAST_WORDS_MS, false, { ref: false })])) break;
    }
    const how = exit.reason ?? (exit.signal === null ? `exit code ${exit.code}` : `signal ${exit.signal}`);
    const said = exit.reason === undefined ? stderr.lastLine() : null;
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
