/**
 * The `remit-verify` command, also run as `remit verify`: reads arguments and files, prints a report for a person or as JSON.
 * Exit codes: 0 verified, 1 not verified, 2 wrong usage or nothing readable.
 */
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { FormatError } from './format-error.ts';
import { DEFAULT_GAP_MS, verifyLog } from './log.ts';
import { parseVkey } from './note.ts';
import type { Vkey } from './note.ts';
import { verifyReceipt } from './proof.ts';
import { printable } from './report.ts';
import type { Report } from './report.ts';

export const VERIFY_HELP = `Check an exported Remit log, or one receipt, offline.

Usage
  remit-verify DIR --vkey KEY [--checkpoint FILE]... [--gap-seconds N] [--json]
  remit-verify --receipt FILE --entry FILE --vkey KEY [--json]

Options
  --vkey KEY          the log's verifier key: its text (name+id+base64) or a file with one key per line.
                      Get it from the log's operator by another way than the log itself. May be repeated.
  --checkpoint FILE   a checkpoint you kept earlier or got from somebody else; the log must continue it. May be repeated.
  --gap-seconds N     report silences longer than this (default ${DEFAULT_GAP_MS / 1000})
  --receipt FILE      a receipt (.tlog-proof)
  --entry FILE        the entry it is about: the exact bytes that were logged
  --unsafe-key-from-directory
                      take the key from DIR/log.vkey. Shows that the directory agrees with itself, not who signed it.
  --json              the whole report as JSON on standard output
  --help              this text

Example
  remit-verify ./export --vkey ./acme.vkey --checkpoint ./checkpoint-from-march

Exit codes
  0  verified     1  not verified     2  wrong usage, or a file cannot be read
`;

export interface Streams {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
}

const processStreams: Streams = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};

class UsageError extends Error {}

/** Runs the command with the given arguments (without node and script). Never throws for bad input; resolves to the exit code. */
export async function runVerify(argv: readonly string[], streams: Streams = processStreams): Promise<number> {
  try {
    return await run(argv, streams);
  } catch (error) {
    const known = error instanceof UsageError || error instanceof FormatError || isSystemError(error);
    if (!known) throw error;
    streams.err(`remit-verify: ${error.message}\nTry: remit-verify --help\n`);
    return 2;
  }
}

function isSystemError(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

async function run(argv: readonly string[], streams: Streams): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      vkey: { type: 'string', multiple: true },
      checkpoint: { type: 'string', multiple: true },
      'gap-seconds': { type: 'string' },
      receipt: { type: 'string' },
      entry: { type: 'string' },
      'unsafe-key-from-directory': { type: 'boolean' },
      json: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    streams.out(VERIFY_HELP);
    return 0;
  }
  const vkeys = (await Promise.all((values.vkey ?? []).map(readVkeys))).flat();
  if (values.receipt !== undefined) {
    if (values.entry === undefined) throw new UsageError('--receipt needs --entry FILE, the entry it is about');
    if (vkeys.length === 0) throw new UsageError('--vkey is missing: whose signature should count?');
    return await checkReceipt(values.receipt, values.entry, vkeys, values.json ?? false, streams);
  }
  const [dir, ...more] = positionals;
  if (dir === undefined || more.length > 0) throw new UsageError('name one directory that holds an exported log');
  const unsafe = values['unsafe-key-from-directory'] === true;
  if (unsafe) vkeys.push(...(await readVkeys(join(dir, 'log.vkey'))));
  if (vkeys.length === 0) throw new UsageError('--vkey is missing: whose signature should count?');
  const held = await Promise.all(
    (values.checkpoint ?? []).map(async (file) => ({ name: basename(file), note: await readFile(file) })),
  );
  const report = await verifyLog(dir, {
    vkeys,
    held,
    gapMs: readSeconds(values['gap-seconds']),
    onProgress: progress(streams),
  });
  if (values.json) streams.out(`${JSON.stringify(unsafe ? { ...report, keyFromDirectory: true } : report, null, 2)}\n`);
  else streams.out(describeReport(report, unsafe));
  return report.verified ? 0 : 1;
}

/** A verifier key, or a file with one per line; empty lines and lines that begin with # are passed over. */
async function readVkeys(textOrFile: string): Promise<Vkey[]> {
  if (/^[^+\s]+\+[0-9a-f]{8}\+/.test(textOrFile)) return [parseVkey(textOrFile)];
  const text = await readFile(textOrFile, 'utf8');
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '' && !line.startsWith('#'));
  if (lines.length === 0) throw new UsageError(`${textOrFile} holds no verifier key`);
  return lines.map((line) => parseVkey(line.trim()));
}

function readSeconds(text: string | undefined): number {
  if (text === undefined) return DEFAULT_GAP_MS;
  const seconds = Number(text);
  if (!(seconds > 0)) throw new UsageError('--gap-seconds must be a number above 0');
  return seconds * 1000;
}

async function checkReceipt(receipt: string, entry: string, vkeys: Vkey[], json: boolean, streams: Streams) {
  const bytes = await readFile(entry);
  // A file saved by an editor or a shell ends in a newline; canonical JSON never does.
  const exact = bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
  const result = verifyReceipt(await readFile(receipt, 'utf8'), exact, vkeys);
  if (json) {
    const facts = result.ok
      ? { verified: true, index: result.index, origin: result.checkpoint.origin, size: result.checkpoint.size }
      : { verified: false, message: result.message };
    streams.out(`${JSON.stringify(facts, null, 2)}\n`);
  } else if (result.ok) {
    const { origin, size } = result.checkpoint;
    streams.out(
      `VERIFIED  this entry is number ${result.index} of ${printable(origin)} (${size} entries were signed)\n`,
    );
  } else streams.out(`NOT VERIFIED  ${printable(result.message)}\n`);
  return result.ok ? 0 : 1;
}

/** One line per 256 * 40 entries: a short log says nothing, a long one shows that it lives. */
function progress(streams: Streams) {
  let next = 10_240;
  return (done: number, total: number) => {
    if (done < next) return;
    next = done + 10_240;
    streams.err(`${done} of ${total} entries\n`);
  };
}

function describeReport(report: Report, keyFromDirectory: boolean): string {
  const lines: string[] = [];
  if (report.verified) {
    lines.push(
      `VERIFIED  ${report.origin}: ${report.size} entries are exactly what was signed by ${report.signedBy.join(', ')}`,
    );
  } else lines.push(`NOT VERIFIED  ${report.origin ?? 'the log'}`);
  if (keyFromDirectory)
    lines.push('  unsafe: the key came from the directory itself; this shows consistency, not who signed');
  if (report.firstTime !== null) lines.push(`  from ${report.firstTime} to ${report.lastTime}`);
  const kinds = Object.entries(report.kinds).map(([kind, count]) => `${count} ${kind}`);
  if (kinds.length > 0) lines.push(`  ${kinds.join(', ')}`);
  for (const { name, size, consistent } of report.heldCheckpoints) {
    lines.push(
      `  checkpoint ${printable(name)} over ${size} entries: ${consistent ? 'continued by this log' : 'CONTRADICTED'}`,
    );
  }
  if (report.unfinishedCount > 0) {
    lines.push(
      `  ${report.unfinishedCount} intents have no outcome (in flight when exported, or unknown after a stop):`,
    );
    for (const { index, time, call, recoveredAt } of report.unfinished.slice(0, 20)) {
      const state = recoveredAt === null ? 'in flight or unknown' : `unknown, said so at entry ${recoveredAt}`;
      lines.push(`    entry ${index}  ${time}  ${call}  ${state}`);
    }
  }
  for (const { severity, message } of report.findings.slice(0, 50)) lines.push(`  ${severity}: ${message}`);
  if (report.findingCount > 50) lines.push(`  ${report.findingCount} findings in all; --json lists more`);
  return `${lines.join('\n')}\n`;
}
