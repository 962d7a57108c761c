/**
 * The stdio transport (MCP basic/transports/stdio; PROTOCOL.md A5): one JSON message per line on a process that
 * somebody else started isolated. Ids are ours; a line that is not a message is a violation, and too many end the process.
 * Not done here: starting the process, deciding the era.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../lib/clock.ts';
import type { Json } from '../lib/json.ts';
import { type Era, UpstreamFault, type UpstreamReply } from './connection.ts';
import { lineSplitter } from './lines.ts';
import { readFromServer } from './messages.ts';
import { captureStderr } from './stderr.ts';
import type { ServerProcess } from './target.ts';
import { type Wire, givenUp } from './wire.ts';

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
const MAX_IN_FLIGHT = 1_024;
/** Bytes we hold for a server that does not read. */
const MAX_UNREAD = 16 * 1024 * 1024;
/** Requests given up whose answers may still come. */
const MAX_FORGOTTEN = 1_024;

interface Waiting {
  settle(outcome: UpstreamReply | UpstreamFault): void;
}

export function stdioWire(process: ServerProcess, options: StdioOptions): Wire {
  const waiting = new Map<number, Waiting>();
  const forgotten = new Set<number>();
  let nextId = 1;
  let era: Era | null = null;
  let end: { reason: string } | null = null;
  let violations = 0;
  let violationsSince = options.clock.now();
  let heard: (method: string) => void = () => {};

  const lastWords = captureStderr(process.stderr, {
    clock: options.clock,
    bytesPerMinute: options.outputBytes,
    secrets: options.secrets,
    onLine: options.onStderr,
  });

  function write(message: Json): void {
    process.stdin.write(`${JSON.stringify(message)}\n`);
  }

  function failAll(fault: UpstreamFault): void {
    for (const one of waiting.values()) one.settle(fault);
  }

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

  function take(line: Buffer): void {
    const bytes = line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
    const read = readFromServer(bytes, options.outputBytes);
    if (!read.ok) return violation(read.error);
    const message = read.value;
    switch (message.kind) {
      case 'notification':
        return heard(message.method);
      case 'request':
        // Answered so that the server does not wait; we declared no capability that would allow it to ask.
        write(
          message.method === 'ping' && era === 'legacy'
            ? { jsonrpc: '2.0', id: message.id, result: {} }
            : { jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'Method not found' } },
        );
        if (era === 'modern') violation('a modern server sent a request');
        return;
      case 'reply': {
        const one = typeof message.id === 'number' ? waiting.get(message.id) : undefined;
        if (one !== undefined) return one.settle(message.reply);
        if (typeof message.id !== 'number' || !forgotten.delete(message.id))
          violation('an answer belongs to no request');
      }
    }
  }

  const split = lineSplitter(options.outputBytes, (line) => {
    if (end === null) take(line);
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
    hear: null,
    agree: (agreed) => void (era = agreed),
    onForgotten: () => {},
    onNotification: (listener) => void (heard = listener),
    close: async (reason) => {
      end ??= { reason };
      failAll(new UpstreamFault('upstream_closed', reason, { dispatched: 'unknown' }));
      await process.stop(reason);
      await closed;
    },
    notify: async (method, params) => {
      if (end === null) write({ jsonrpc: '2.0', method, params });
    },
    exchange: ({ method, params }, signal, timeoutMs) =>
      new Promise((resolve, reject) => {
        if (end !== null) return reject(new UpstreamFault('upstream_closed', end.reason, { dispatched: 'no' }));
        if (signal.aborted) return reject(givenUp(signal, false, 'no'));
        if (waiting.size >= MAX_IN_FLIGHT || process.stdin.writableLength > MAX_UNREAD) {
          return reject(
            new UpstreamFault('upstream_unreachable', 'the server does not keep up with its input', {
              dispatched: 'no',
            }),
          );
        }
        const id = nextId++;
        const giveUp = (timedOut: boolean): void => {
          remember(forgotten, id);
          // A server must not be told to cancel a handshake (CAN).
          if (method !== 'initialize' && end === null) {
            write({
              jsonrpc: '2.0',
              method: 'notifications/cancelled',
              params: { requestId: id, reason: timedOut ? 'timed out' : 'cancelled' },
            });
          }
          waiting.get(id)?.settle(givenUp(signal, timedOut, 'unknown'));
        };
        const onAbort = (): void => giveUp(false);
        const timer = timeoutMs === null ? undefined : setTimeout(giveUp, timeoutMs, true);
        waiting.set(id, {
          settle: (outcome) => {
            waiting.delete(id);
            clearTimeout(timer);
            signal.removeEventListener('abort', onAbort);
            if (outcome instanceof UpstreamFault) reject(outcome);
            else resolve(outcome);
          },
        });
        signal.addEventListener('abort', onAbort, { once: true });
        write({ jsonrpc: '2.0', id, method, params });
      }),
  };
}

function remember(forgotten: Set<number>, id: number): void {
  forgotten.add(id);
  if (forgotten.size <= MAX_FORGOTTEN) return;
  const [oldest] = forgotten;
  if (oldest !== undefined) forgotten.delete(oldest);
}
